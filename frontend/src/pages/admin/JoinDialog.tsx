// Makes a one-time token for a new node and shows the command that uses it; lists those not used yet.

import { Button, Form, Input, Modal } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, post, remove } from "../../api/client";
import { nodeQueries } from "../../api/nodeQueries";
import type { NewJoinToken } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { CodeBlock } from "../../widgets/CodeBlock";
import { useAction } from "../useAction";

export function JoinDialog({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const { text, format } = useWords();
  const words = text.nodes.join;
  const [made, setMade] = useState<NewJoinToken | null>(null);
  const close = () => {
    setMade(null);
    onClose();
  };
  return (
    <Modal
      open={isOpen}
      title={words.title}
      onCancel={close}
      footer={<Button onClick={close}>{text.close}</Button>}
      destroyOnHidden
    >
      <p>{words.text}</p>
      {made ? (
        <>
          <h3>{words.command}</h3>
          <CodeBlock code={made.command} label={words.command} />
          <p className="muted small">{words.until(format.relative(made.expires_at))}</p>
          <p className="muted small">{words.then}</p>
        </>
      ) : (
        <NameForm onMade={setMade} />
      )}
      <OpenTokens />
    </Modal>
  );
}

function NameForm({ onMade }: { onMade: (made: NewJoinToken) => void }) {
  const { text } = useWords();
  const words = text.nodes.join;
  const cache = useQueryClient();
  const { run, isBusy } = useAction();
  const [name, setName] = useState("");
  const [refused, setRefused] = useState("");
  const make = () =>
    run(async () => {
      try {
        onMade(await post<NewJoinToken>("/api/node-join-tokens/", { name: name.trim() }));
        await cache.invalidateQueries({ queryKey: nodeQueries.joinTokens().queryKey });
      } catch (error) {
        if (error instanceof ApiError && error.body.field === "name") {
          setRefused(sayProblem(text, error.body));
        }
        throw error;
      }
    });
  return (
    <Form layout="vertical" onFinish={() => void make()}>
      <Form.Item
        label={words.name}
        htmlFor="join-name"
        extra={words.nameHelp}
        help={refused || undefined}
        validateStatus={refused ? "error" : undefined}
      >
        <Input
          id="join-name"
          value={name}
          maxLength={63}
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => {
            setName(event.target.value);
            setRefused("");
          }}
        />
      </Form.Item>
      <Button type="primary" htmlType="submit" loading={isBusy}>
        {words.make}
      </Button>
    </Form>
  );
}

function OpenTokens() {
  const { text, format } = useWords();
  const words = text.nodes.join;
  const cache = useQueryClient();
  const { run } = useAction();
  const { data: tokens = [] } = useQuery(nodeQueries.joinTokens());
  if (tokens.length === 0) return null;
  const revoke = (id: number) =>
    run(async () => {
      await remove(`/api/node-join-tokens/${id}/`);
      await cache.invalidateQueries({ queryKey: nodeQueries.joinTokens().queryKey });
    });
  return (
    <section style={{ marginTop: 16 }}>
      <h3>{words.open}</h3>
      {tokens.map((token) => {
        const line = words.openLine(
          token.name || words.any,
          token.made_by ?? words.shell,
          format.relative(token.expires_at),
        );
        return (
          <div key={token.id} className="row">
            <span>{line}</span>
            <Button
              size="small"
              type="text"
              danger
              aria-label={`${words.revoke}: ${line}`}
              onClick={() => void revoke(token.id)}
            >
              {words.revoke}
            </Button>
          </div>
        );
      })}
    </section>
  );
}
