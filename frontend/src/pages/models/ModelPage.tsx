// One model: its card, files, revisions, lineage and provenance, and what can be done with it.

import { FireOutlined, MessageOutlined } from "../../widgets/icons";
import { Tabs } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { RepoHead } from "../hub/RepoHead";
import { FilesTab, RevisionsTab } from "../hub/RepoTabs";
import { useUrlState } from "../useUrlState";
import { Evaluations } from "./Evaluations";
import { Lineage } from "./Lineage";
import { ModelFactsPanel } from "./ModelFactsPanel";
import { Provenance } from "./Provenance";
import { readScores } from "./scores";

export function ModelPage() {
  const { namespace, name } = useParams();
  const repo = useQuery(queries.repo("model", `${namespace}/${name}`));
  return (
    <div className="page">
      <Loaded query={repo} skeleton={<PageSkeleton />}>
        {(data) => <ModelView repo={data} />}
      </Loaded>
    </div>
  );
}

function ModelView({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const { tab } = text.hub;
  const [read, write] = useUrlState();
  const base = repo.role === "adapter" ? repo.base_model : repo.id;
  const scores = readScores(repo.metadata);
  const verbs = (
    <>
      <LinkButton
        to={`/playground?model=${encodeURIComponent(repo.id)}`}
        type="primary"
        icon={<MessageOutlined />}
      >
        {text.hub.chat}
      </LinkButton>
      {base && (
        <LinkButton to={`/launch?model=${encodeURIComponent(base)}`} icon={<FireOutlined />}>
          {text.hub.finetune}
        </LinkButton>
      )}
    </>
  );
  const tabs = [
    {
      key: "card",
      label: tab.card,
      children: (
        <div className="panel">
          {repo.card ? (
            <LazyMarkdown text={repo.card} />
          ) : (
            <p className="muted">{text.hub.noCard}</p>
          )}
        </div>
      ),
    },
    { key: "files", label: tab.files, children: <FilesTab repo={repo} /> },
    { key: "revisions", label: tab.revisions, children: <RevisionsTab repo={repo} /> },
    { key: "lineage", label: tab.lineage, children: <Lineage repo={repo} /> },
    ...(scores.length > 0
      ? [
          {
            key: "evaluations",
            label: text.finding.evaluations.tab,
            children: <Evaluations scores={scores} />,
          },
        ]
      : []),
    ...(repo.provenance
      ? [
          {
            key: "provenance",
            label: tab.provenance,
            children: <Provenance provenance={repo.provenance} />,
          },
        ]
      : []),
  ];
  return (
    <>
      <RepoHead repo={repo} verbs={verbs} />
      <div className="two">
        <Tabs
          activeKey={read("tab") || "card"}
          onChange={(key) => write({ tab: key === "card" ? "" : key })}
          destroyOnHidden
          items={tabs}
        />
        <ModelFactsPanel repo={repo} />
      </div>
    </>
  );
}
