// Names all that goes with a repo, and deletes it once its name is typed.

import { App, Form, Input, Modal } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { Losses, RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { useAction } from "../useAction";

export function DeleteDialog({ repo, onClose }: { repo: RepoDetail; onClose: () => void }) {
  const { text } = useWords();
  const words = text.hub.remove;
  const { message } = App.useApp();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const navigate = useNavigate();
  const [typed, setTyped] = useState("");
  const losses = useQuery(queries.losses(repo));

  const drop = () =>
    run(async () => {
      await remove(`/api/hub/repos/${repo.kind}/${repo.id}/`);
      await navigate(`/${repo.kind}s`);
      cache.removeQueries({ queryKey: queries.repo(repo.kind, repo.id).queryKey });
      await cache.invalidateQueries({ queryKey: ["repos"] });
      void message.success(text.repo.remove.done(repo.id));
    });
  return (
    <Modal
      open
      title={words.title(repo.id)}
      okText={words.ok}
      okButtonProps={{ danger: true, disabled: typed !== repo.id || !losses.data }}
      confirmLoading={isBusy}
      onOk={() => void drop()}
      onCancel={onClose}
    >
      <Loaded query={losses}>{(data) => <Lost losses={data} />}</Loaded>
      <Form layout="vertical">
        <Form.Item
          label={<span className="break">{text.repo.remove.type(repo.id)}</span>}
          htmlFor="delete-name"
        >
          <Input
            id="delete-name"
            className="mono"
            autoComplete="off"
            value={typed}
            onChange={(event) => setTyped(event.target.value.trim())}
            onPressEnter={(event) => {
              event.preventDefault();
              if (typed === repo.id && losses.data) void drop();
            }}
          />
        </Form.Item>
      </Form>
    </Modal>
  );
}

function Lost({ losses }: { losses: Losses }) {
  const { text, format } = useWords();
  const words = text.repo.remove;
  const { num_files, size_bytes, num_revisions, num_refs, likes, num_users, users } = losses;
  return (
    <div data-testid="losses">
      <p>{words.losing}</p>
      <ul className="num">
        <li>{words.files(format.number(num_files), format.bytes(size_bytes))}</li>
        <li>{words.revisions(format.number(num_revisions))}</li>
        {num_refs > 0 && <li>{words.refs(format.number(num_refs))}</li>}
        {likes > 0 && <li>{words.likes(format.number(likes))}</li>}
      </ul>
      {num_users > 0 && (
        <>
          <p>{words.users(format.number(num_users))}</p>
          <ul>
            {users.map((id) => (
              <li key={id}>
                <Link to={`/models/${id}`} className="mono break">
                  {id}
                </Link>
              </li>
            ))}
            {num_users > users.length && (
              <li>{words.more(format.number(num_users - users.length))}</li>
            )}
          </ul>
        </>
      )}
      <p className="muted">{words.keep}</p>
    </div>
  );
}
