// A repo's name, what it is, and its verbs; its owner may also show, hide and delete it.

import { DeleteOutlined, MoreOutlined, SettingOutlined } from "../../widgets/icons";
import { App, Button, Dropdown, Tag } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { useNavigate } from "react-router";
import { remove } from "../../api/client";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { PageHead } from "../../widgets/PageHead";
import { useAction } from "../useAction";
import { GateNotice } from "./GateNotice";
import { RepoSettings } from "./RepoSettings";
import { LikeButton } from "./LikeButton";

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
            <LikeButton repo={repo} />
            {repo.can.manage && <OwnerMenu repo={repo} />}
          </>
        }
      />
      <GateNotice repo={repo} />
    </>
  );
}

function OwnerMenu({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.hub;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const navigate = useNavigate();
  const address = `/api/hub/repos/${repo.kind}/${repo.id}/`;
  const [isSetting, setIsSetting] = useState(false);

  const drop = () =>
    modal.confirm({
      title: words.remove.title(repo.id),
      content: words.remove.text,
      okText: words.remove.ok,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(address);
          await cache.invalidateQueries({ queryKey: ["repos"] });
          await navigate(repo.kind === "model" ? "/models" : "/datasets");
        }),
    });
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
      onClick: drop,
    },
  ];
  return (
    <>
      <Dropdown menu={{ items }} trigger={["click"]}>
        <Button icon={<MoreOutlined />} aria-label={text.more} />
      </Dropdown>
      <RepoSettings repo={repo} isOpen={isSetting} onClose={() => setIsSetting(false)} />
    </>
  );
}
