// One dataset: its rows as conversations, its card, the report on what can be learnt from it.

import { FireOutlined } from "../../widgets/icons";
import { Tabs } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Facts } from "../../widgets/Facts";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { RelativeTime } from "../../widgets/RelativeTime";
import { RepoHead } from "../hub/RepoHead";
import { FilesTab, RevisionsTab } from "../hub/RepoTabs";
import { useUrlState } from "../useUrlState";
import { ReportTab } from "./ReportTab";
import { RowsTab } from "./RowsTab";
import { TableTab } from "./TableTab";

export function DatasetPage() {
  const { namespace, name } = useParams();
  const repo = useQuery(queries.repo("dataset", `${namespace}/${name}`));
  return (
    <div className="page">
      <Loaded query={repo} skeleton={<PageSkeleton />}>
        {(data) => <DatasetView repo={data} />}
      </Loaded>
    </div>
  );
}

function DatasetView({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const { tab } = text.hub;
  const [read, write] = useUrlState();
  // What cannot be learnt from is a table all the same.
  const isConversations = repo.report !== null;
  const first = isConversations ? "rows" : "table";
  const tabs = [
    ...(isConversations
      ? [{ key: "rows", label: tab.rows, children: <RowsTab repo={repo} /> }]
      : []),
    { key: "table", label: text.finding.table.tab, children: <TableTab repo={repo} /> },
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
    ...(isConversations
      ? [{ key: "report", label: tab.report, children: <ReportTab repo={repo} /> }]
      : []),
    { key: "files", label: tab.files, children: <FilesTab repo={repo} /> },
    { key: "revisions", label: tab.revisions, children: <RevisionsTab repo={repo} /> },
  ];
  return (
    <>
      <RepoHead
        repo={repo}
        verbs={
          <>
            {isConversations && (
              <LinkButton
                to={`/launch?dataset=${encodeURIComponent(repo.id)}`}
                type="primary"
                icon={<FireOutlined />}
              >
                {text.hub.finetuneWith}
              </LinkButton>
            )}
            <LinkButton to={`/labelling/new?dataset=${encodeURIComponent(repo.id)}`}>
              {text.labelling.verb}
            </LinkButton>
          </>
        }
      />
      <div className="two">
        <Tabs
          activeKey={read("tab") || first}
          onChange={(key) => write({ tab: key === first ? "" : key })}
          destroyOnHidden
          items={tabs}
        />
        <DatasetFacts repo={repo} />
      </div>
    </>
  );
}

function DatasetFacts({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.facts;
  const { report } = repo;
  return (
    <section className="panel">
      <h2 className="section-title">{words.title}</h2>
      <Facts
        facts={[
          [
            words.rows,
            report ? format.number(report.num_rows) : repo.num_rows && format.number(repo.num_rows),
          ],
          [
            text.hub.report.bad,
            report && report.num_bad > 0 ? format.number(report.num_bad) : null,
          ],
          [words.tokens, report && format.compact(report.num_tokens_estimate)],
          [words.supervised, report && format.compact(report.num_supervised_tokens_estimate)],
          [words.longest, report && format.number(report.longest_tokens_estimate)],
          [words.size, format.bytes(repo.size_bytes)],
          [words.license, repo.license],
          [words.owner, repo.owner],
          [words.visibility, repo.visibility === "public" ? text.public : text.private],
          [words.downloads, format.number(repo.downloads)],
          [words.updated, <RelativeTime key="u" iso={repo.updated_at} />],
          [
            words.revision,
            <span key="r" className="mono">
              {repo.revision.slice(0, 10)}
            </span>,
          ],
        ]}
      />
    </section>
  );
}
