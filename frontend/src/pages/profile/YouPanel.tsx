// A person's name as others see it, and what cannot be changed here.

import { Button, Form, Input } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { patch } from "../../api/client";
import { queries } from "../../api/queries";
import type { Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Facts } from "../../widgets/Facts";
import { useAction } from "../useAction";

export function YouPanel({ me }: { me: Me }) {
  const { text, format } = useWords();
  const words = text.profile;
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const save = (values: Pick<Me, "display_name">) =>
    run(async () => {
      cache.setQueryData(queries.me().queryKey, await patch<Me>("/api/me/", values));
    }, words.saved);
  return (
    <section className="panel">
      <h2 className="section-title">{words.you}</h2>
      <Form
        layout="vertical"
        initialValues={{ display_name: me.display_name }}
        onFinish={(values: Pick<Me, "display_name">) => void save(values)}
        style={{ maxWidth: 380 }}
      >
        <Form.Item name="display_name" label={words.displayName}>
          <Input maxLength={80} autoComplete="name" />
        </Form.Item>
        <Button htmlType="submit" loading={isBusy}>
          {text.save}
        </Button>
      </Form>
      <div style={{ marginTop: 18 }}>
        <Facts
          facts={[
            [
              words.username,
              <span key="n" className="mono">
                {me.username}
              </span>,
            ],
            [words.email, me.email],
            [words.role, text.role[me.role]],
            [words.member, format.time(me.date_joined)],
          ]}
        />
      </div>
    </section>
  );
}
