// The commits of a revision, newest first; one opens in their place.

import { Pagination, Tag } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link, useLocation } from "react-router";
import { queries } from "../../api/queries";
import type { HistoryLine, RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useUrlState } from "../useUrlState";
import { CommitView } from "./CommitView";

const PAGE_SIZE = 30;

export function HistoryTab({ repo }: { repo: RepoDetail }) {
  const [read] = useUrlState();
  const sha = read("commit");
  return sha ? <CommitView key={sha} repo={repo} sha={sha} /> : <History repo={repo} />;
}

function History({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const [read, write] = useUrlState();
  const page = Number(read("since")) || 1;
  const history = useQuery({
    ...queries.history(repo, { revision: repo.revision || "main", page, page_size: PAGE_SIZE }),
    placeholderData: keepPreviousData,
  });
  return (
    <div className="panel flush">
      <Loaded query={history}>
        {(data) => (
          <>
            {data.count === 0 && <EmptyState title={text.repo.history.empty} />}
            <ul className="commits">
              {data.results.map((line) => (
                <CommitLine key={line.revision} line={line} />
              ))}
            </ul>
            <Pagination
              style={{ padding: 14 }}
              current={page}
              pageSize={PAGE_SIZE}
              total={data.count}
              hideOnSinglePage
              showSizeChanger={false}
              onChange={(value) => write({ since: value > 1 ? String(value) : "" })}
            />
          </>
        )}
      </Loaded>
    </div>
  );
}

function CommitLine({ line }: { line: HistoryLine }) {
  const { search } = useLocation();
  const query = new URLSearchParams(search);
  query.set("commit", line.revision);
  return (
    <li>
      <div className="commit-title">
        <Link to={`?${query.toString()}`}>{line.title}</Link>
        {line.names.map((name) => (
          <Tag key={name} className="mono">
            {name}
          </Tag>
        ))}
        <div className="muted small">
          <CommitBy line={line} />
        </div>
      </div>
      <span className="mono muted small">
        {line.revision.slice(0, 10)} <CopyButton text={line.revision} size="small" />
      </span>
    </li>
  );
}

export function CommitBy({ line }: { line: Pick<HistoryLine, "author" | "created_at"> }) {
  const { text } = useWords();
  const words = text.repo.history;
  return (
    <>
      {words.by(line.author || words.somebody)} · <RelativeTime iso={line.created_at} />
    </>
  );
}
