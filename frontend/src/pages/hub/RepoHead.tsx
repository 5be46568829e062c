// A repo's name, what it is, and its verbs; its owner may also show, hide and delete it.

import { DeleteOutlined, MoreOutlined, SettingOutlined } from "../../widgets/icons";
import { Button, Dropdown, Tag } from "antd";
import { useState, type ReactNode } from "react";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { PageHead } from "../../widgets/PageHead";
import { DeleteDialog } from "./DeleteDialog";
import { GateNotice } from "./GateNotice";
import { RepoSettings } from "./RepoSettings";
import { LikeButton } from "./LikeButton";
import { RevisionNotice, RevisionSelect } from "./RevisionSelect";
import { UseDialog } from "./UseDialog";

export function RepoHead({ repo, verbs }: { repo: RepoDetail; verbs: ReactNode }) {
  const { text } = useWords();
  return (
    <>
      <PageHead
        title={repo.id}
        heading={
          <h1>
            {repo.id} <CopyButton text={repo.id} />
          </h1>
        }
        lead={
          <>
            {repo.summary && <div>{repo.summary}</div>}
            <span className="row" style={{ marginTop: 6 }}>
              <RevisionSelect repo={repo} />
              <Tag variant="filled">{text.hub.role[repo.role]}</Tag>
              <Tag variant="filled">{text.hub.seenBy[repo.visibility]}</Tag>
              {repo.gate && <Tag variant="filled">{text.hub.isGated}</Tag>}
              {repo.tags.map((tag) => (
                <Tag key={tag} variant="filled">
                  {tag}
                </Tag>
              ))}
            </span>
          </>
        }
        actions={
          <>
            {verbs}
            <UseDialog repo={repo} />
            <LikeButton repo={repo} />
            {repo.can.manage && <OwnerMenu repo={repo} />}
          </>
        }
      />
      <GateNotice repo={repo} />
      <RevisionNotice repo={repo} />
    </>
  );
}

function OwnerMenu({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.hub;
  const [isSetting, setIsSetting] = useState(false);
  const [isDeleting, setIsDeleting] = useState(false);
  const items = [
    {
      key: "settings",
      icon: <SettingOutlined />,
      label: words.manage.verb,
      onClick: () => setIsSetting(true),
    },
    {
      key: "remove",
      icon: <DeleteOutlined />,
      danger: true,
      label: words.remove.verb,
      onClick: () => setIsDeleting(true),
    },
  ];
  return (
    <>
      <Dropdown menu={{ items }} trigger={["click"]}>
        <Button icon={<MoreOutlined />} aria-label={text.more} />
      </Dropdown>
      <RepoSettings repo={repo} isOpen={isSetting} onClose={() => setIsSetting(false)} />
      {isDeleting && <DeleteDialog repo={repo} onClose={() => setIsDeleting(false)} />}
    </>
  );
}
