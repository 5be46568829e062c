// The ways to use a repo from other programs, each to copy.

import { Button, Modal, Tabs } from "antd";
import { useState } from "react";
import { Link } from "react-router";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { CodeOutlined } from "../../widgets/icons";
import { useUrlState } from "../useUrlState";
import { snippetsOf } from "./snippets";

export function UseDialog({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.repo.use;
  const [read] = useUrlState();
  const [isOpen, setIsOpen] = useState(false);
  const items = snippetsOf(repo, location.origin, read("revision")).map(({ key, code }) => {
    const label = key === "cli" ? words.cli : key;
    return { key, label, children: <CodeBlock code={code} label={label} /> };
  });
  return (
    <>
      <Button icon={<CodeOutlined />} onClick={() => setIsOpen(true)}>
        {words.verb}
      </Button>
      <Modal
        open={isOpen}
        title={words.title(repo.id)}
        footer={null}
        width={720}
        onCancel={() => setIsOpen(false)}
        destroyOnHidden
      >
        <p className="muted">{words.lead}</p>
        <Tabs items={items} />
        {(repo.visibility !== "public" || repo.gate) && (
          <p className="muted small">
            {words.token} <Link to="/profile">{words.profile}</Link>
          </p>
        )}
      </Modal>
    </>
  );
}
