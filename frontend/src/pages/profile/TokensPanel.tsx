// Tokens for scripts: each with its scopes, shown once.

import { App, Button } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { Me, Token } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";
import { MakeTokenDialog } from "./MakeTokenDialog";
import { DataTable } from "../../widgets/DataTable";

export function TokensPanel({ me }: { me: Me }) {
  const { text } = useWords();
  const words = text.profile;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const tokens = useQuery(queries.tokens());
  const [isMaking, setIsMaking] = useState(false);

  const revoke = (token: Token) =>
    modal.confirm({
      title: words.revokeTitle(token.name),
      content: words.revokeText,
      okText: words.revoke,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(`/api/tokens/${token.id}/`);
          await cache.invalidateQueries({ queryKey: ["tokens"] });
        }),
    });
  const when = (iso: string | null, otherwise: string) =>
    iso ? <RelativeTime iso={iso} /> : <span className="muted">{otherwise}</span>;
  return (
    <section className="panel flush">
      <div className="panel-head">
        <h2>{words.tokens}</h2>
        <Button type="primary" onClick={() => setIsMaking(true)}>
          {words.makeToken}
        </Button>
      </div>
      <p className="muted" style={{ margin: "0 20px 14px" }}>
        {words.tokensText}
      </p>
      <Loaded query={tokens}>
        {(list) => (
          <DataTable<Token>
            rowKey="id"
            dataSource={list}
            pagination={false}
            locale={{ emptyText: <EmptyState title={words.noTokens} /> }}
            columns={[
              { title: words.col.name, dataIndex: "name" },
              {
                title: words.col.scopes,
                key: "scopes",
                render: (_, { scopes }) => scopes.join(", "),
              },
              { title: words.col.begins, dataIndex: "prefix", className: "mono" },
              {
                title: words.col.used,
                key: "used",
                render: (_, { last_used_at }) => when(last_used_at, text.never),
              },
              {
                title: words.col.ends,
                key: "ends",
                render: (_, { expires_at }) => when(expires_at, words.noEnd),
              },
              {
                key: "revoke",
                align: "right",
                title: <span className="visually-hidden">{words.revoke}</span>,
                render: (_, token) => (
                  <Button size="small" danger onClick={() => revoke(token)}>
                    {words.revoke}
                  </Button>
                ),
              },
            ]}
          />
        )}
      </Loaded>
      <MakeTokenDialog me={me} isOpen={isMaking} onClose={() => setIsMaking(false)} />
    </section>
  );
}
