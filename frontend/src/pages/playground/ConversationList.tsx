// The conversations that are kept, newest first.

import { DeleteOutlined, EditOutlined, PlusOutlined } from "../../widgets/icons";
import { Conversations } from "@ant-design/x";
import { App, Button, Input } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { patch, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { Conversation, ConversationHead } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { useAction } from "../useAction";

interface Props {
  activeId: string | null;
  onOpen: (id: string | null) => void;
}

export function ConversationList({ activeId, onOpen }: Props) {
  const { text } = useWords();
  const words = text.playground;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const list = useQuery(queries.conversations());
  const address = (id: string) => `/api/playground/conversations/${id}/`;
  const titleOf = (head: ConversationHead) => head.title || words.untitled;

  const drop = (head: ConversationHead) =>
    modal.confirm({
      title: words.deleteTitle(titleOf(head)),
      content: words.deleteText,
      okText: words.delete,
      okButtonProps: { danger: true },
      onOk: () =>
        run(
          async () => {
            await remove(address(head.id));
            if (head.id === activeId) onOpen(null);
            await cache.invalidateQueries({ queryKey: ["conversations"] });
          },
          words.deleted(titleOf(head)),
        ),
    });
  const rename = (head: ConversationHead) => {
    let title = head.title;
    modal.confirm({
      title: words.rename,
      icon: null,
      content: (
        <Input
          autoFocus
          defaultValue={title}
          maxLength={80}
          aria-label={text.name}
          onChange={(event) => (title = event.target.value)}
        />
      ),
      okText: text.save,
      onOk: () =>
        run(async () => {
          await patch<Conversation>(address(head.id), { title: title.trim() });
          await cache.invalidateQueries({ queryKey: ["conversations"] });
        }),
    });
  };
  return (
    <>
      <Button
        block
        icon={<PlusOutlined />}
        onClick={() => onOpen(null)}
        style={{ marginBottom: 10 }}
      >
        {words.new}
      </Button>
      <Loaded query={list}>
        {(heads) =>
          heads.length === 0 ? (
            <p className="muted small">{words.noneYet}</p>
          ) : (
            <Conversations
              style={{ padding: 0 }}
              activeKey={activeId ?? ""}
              onActiveChange={(key) => onOpen(key)}
              items={heads.map((head) => ({ key: head.id, label: titleOf(head) }))}
              menu={(item) => {
                const head = heads.find(({ id }) => id === item.key);
                return {
                  items: [
                    { key: "rename", icon: <EditOutlined />, label: words.rename },
                    { key: "delete", icon: <DeleteOutlined />, label: words.delete, danger: true },
                  ],
                  onClick: ({ key, domEvent }) => {
                    domEvent.stopPropagation();
                    if (!head) return;
                    if (key === "rename") rename(head);
                    else drop(head);
                  },
                };
              }}
            />
          )
        }
      </Loaded>
    </>
  );
}
