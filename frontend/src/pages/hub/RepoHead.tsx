// A repo's name, what it is, and its verbs; its owner may also show, hide and delete it.

import {
  DeleteOutlined,
  EyeInvisibleOutlined,
  EyeOutlined,
  MoreOutlined,
} from "../../widgets/icons";
import { App, Button, Dropdown, Tag } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useNavigate } from "react-router";
import { patch, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { PageHead } from "../../widgets/PageHead";
import { useAction } from "../useAction";

export function RepoHead({ repo, verbs }: { repo: RepoDetail; verbs: ReactNode }) {
  const { text } = useWords();
  return (
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
            <Tag variant="filled">{repo.visibility === "public" ? text.public : text.private}</Tag>
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
          {repo.is_mine && <OwnerMenu repo={repo} />}
        </>
      }
    />
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
  const isPublic = repo.visibility === "public";

  const toggle = () =>
    run(async () => {
      const next = await patch<RepoDetail>(address, {
        visibility: isPublic ? "private" : "public",
      });
      cache.setQueryData(queries.repo(repo.kind, repo.id).queryKey, { ...repo, ...next });
      await cache.invalidateQueries({ queryKey: ["repos"] });
    });
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
      key: "visibility",
      icon: isPublic ? <EyeInvisibleOutlined /> : <EyeOutlined />,
      label: isPublic ? words.makePrivate : words.makePublic,
      onClick: () => void toggle(),
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
    <Dropdown menu={{ items }} trigger={["click"]}>
      <Button icon={<MoreOutlined />} aria-label={text.more} />
    </Dropdown>
  );
}
