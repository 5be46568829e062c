// One labelling project: how far it is, and for its owner who agrees, drafts, and saving.

import { App, Button, Dropdown, Progress, Tag } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "react-router";
import { patch, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Facts } from "../../widgets/Facts";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { HighlightOutlined, MoreOutlined } from "../../widgets/icons";
import { useAction } from "../useAction";
import { UrlTabs } from "../UrlTabs";
import { DisputesTab } from "./DisputesTab";
import { DraftsTab } from "./DraftsTab";
import { FiguresTab } from "./FiguresTab";
import { SaveTab } from "./SaveTab";

export function ProjectPage() {
  const { id = "" } = useParams();
  const project = useQuery(queries.labelling(id));
  return (
    <div className="page">
      <Loaded query={project} skeleton={<PageSkeleton />}>
        {(data) => <ProjectView project={data} />}
      </Loaded>
    </div>
  );
}

function ProjectView({ project }: { project: LabellingDetail }) {
  const { text, format } = useWords();
  const words = text.labelling;
  const { tab } = words;
  const tabs = [
    { key: "figures", label: tab.figures, children: <FiguresTab project={project} /> },
    { key: "disputes", label: tab.disputes, children: <DisputesTab project={project} /> },
    { key: "drafts", label: tab.drafts, children: <DraftsTab project={project} /> },
    { key: "save", label: tab.save, children: <SaveTab project={project} /> },
  ];
  return (
    <>
      <PageHead
        title={project.name}
        lead={
          <span className="row">
            <Tag variant="filled">{words.kind[project.kind]}</Tag>
            {!project.is_open && <Tag variant="filled">{words.closed}</Tag>}
            <Link to={`/datasets/${project.dataset}`}>{project.dataset}</Link>
            {!project.is_mine && <span>{words.by(project.owner)}</span>}
          </span>
        }
        actions={
          <>
            {project.is_member && project.is_open && (
              <LinkButton
                to={`/labelling/${project.id}/work`}
                type="primary"
                icon={<HighlightOutlined />}
              >
                {words.start}
              </LinkButton>
            )}
            {project.is_mine && <OwnerMenu project={project} />}
          </>
        }
      />
      <section className="panel" style={{ marginBottom: 16 }}>
        <Progress
          percent={(100 * project.num_done) / project.num_rows}
          showInfo={false}
          aria-label={words.title}
        />
        <div className="row num">
          <span>
            {words.progress(format.number(project.num_done), format.number(project.num_rows))}
          </span>
          <span className="muted">{words.answers(format.number(project.num_answers))}</span>
          <span className="muted">{words.mine(format.number(project.num_mine))}</span>
        </div>
        <Facts
          facts={[
            [
              words.settings.pinned,
              <span key="r" className="mono">
                {project.revision.slice(0, 10)} {project.path}
              </span>,
            ],
          ]}
        />
        {project.instructions && (
          <>
            <h2 className="section-title" style={{ marginTop: 14 }}>
              {words.instructions}
            </h2>
            <LazyMarkdown text={project.instructions} />
          </>
        )}
      </section>
      {project.is_mine && <UrlTabs items={tabs} />}
    </>
  );
}

function OwnerMenu({ project }: { project: LabellingDetail }) {
  const { text } = useWords();
  const words = text.labelling.settings;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const navigate = useNavigate();
  const address = `/api/labelling/projects/${project.id}/`;
  const toggle = () =>
    run(async () => {
      const next = await patch<LabellingDetail>(address, { is_open: !project.is_open });
      cache.setQueryData(queries.labelling(project.id).queryKey, next);
    });
  const drop = () =>
    modal.confirm({
      title: words.removeTitle(project.name),
      content: words.removeText,
      okText: words.removeOk,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(address);
          await navigate("/labelling");
          await cache.invalidateQueries({ queryKey: ["labelling", "list"] });
        }),
    });
  const items = [
    {
      key: "open",
      label: project.is_open ? words.close : words.open,
      onClick: () => void toggle(),
    },
    { key: "remove", danger: true, label: words.remove, onClick: drop },
  ];
  return (
    <Dropdown menu={{ items }} trigger={["click"]}>
      <Button icon={<MoreOutlined />} aria-label={text.more} />
    </Dropdown>
  );
}
