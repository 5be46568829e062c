// One dataset: its rows as conversations, its card, the report on what can be learnt from it.

import { FireOutlined } from "../../widgets/icons";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Facts } from "../../widgets/Facts";
import { LinkButton } from "../../widgets/LinkButton";
import { RelativeTime } from "../../widgets/RelativeTime";
import { RepoHead } from "../hub/RepoHead";
import { RepoLoaded } from "../hub/RepoLoaded";
import { Card } from "../hub/Card";
import { FilesTab } from "../hub/FilesTab";
import { HistoryTab } from "../hub/HistoryTab";
import { Licence } from "../hub/Licence";
import { useRepo } from "../hub/useRepo";
import { stageFor } from "../../stores/trainForm";
import { UrlTabs } from "../UrlTabs";
import { ReportTab } from "./ReportTab";
import { RowsTab } from "./RowsTab";
import { TableTab } from "./TableTab";

export function DatasetPage() {
  return (
    <RepoLoaded query={useRepo("dataset")}>{(repo) => <DatasetView repo={repo} />}</RepoLoaded>
  );
}

function DatasetView({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const { tab } = text.hub;
  // What cannot be learnt from is a table all the same.
  const { report } = repo;
  const isTrainable = report !== null;
  const isConversations = isTrainable && report.format === "messages" && report.num_files === 1;
  const tabs = [
    ...(isConversations
      ? [{ key: "rows", label: tab.rows, children: <RowsTab repo={repo} /> }]
      : []),
    { key: "table", label: text.finding.table.tab, children: <TableTab repo={repo} /> },
    { key: "card", label: tab.card, children: <Card repo={repo} /> },
    ...(isTrainable
      ? [{ key: "report", label: tab.report, children: <ReportTab repo={repo} /> }]
      : []),
    { key: "files", label: tab.files, children: <FilesTab repo={repo} /> },
    { key: "history", label: text.repo.history.tab, children: <HistoryTab repo={repo} /> },
  ];
  return (
    <>
      <RepoHead
        repo={repo}
        verbs={
          <>
            {isTrainable && (
              <LinkButton
                to={`/launch?dataset=${encodeURIComponent(repo.id)}&stage=${stageFor(report.formats)}`}
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
        <UrlTabs items={tabs} />
        <DatasetFacts repo={repo} />
      </div>
    </>
  );
}

function DatasetFacts({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.facts;
  const { report } = repo;
  // Of a large dataset the beginning was looked at.
  const inAll = (count: number) => Math.round(count / (report?.share ?? 1));
  return (
    <section className="panel">
      <h2 className="section-title">{words.title}</h2>
      <Facts
        facts={[
          [words.rows, repo.num_rows && format.number(repo.num_rows)],
          [
            text.hub.report.bad,
            report && report.num_bad > 0 ? format.number(report.num_bad) : null,
          ],
          [words.tokens, report && format.compact(inAll(report.num_tokens_estimate))],
          [
            words.supervised,
            report && format.compact(inAll(report.num_supervised_tokens_estimate)),
          ],
          [words.longest, report && format.number(report.longest_tokens_estimate)],
          [words.size, format.bytes(repo.size_bytes)],
          [words.license, repo.license && <Licence key="l" repo={repo} />],
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
