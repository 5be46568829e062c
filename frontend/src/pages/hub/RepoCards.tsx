// A page of repos as cards; the whole card leads to the repo.

import { HeartOutlined, LockOutlined } from "../../widgets/icons";
import { Button, Pagination, Tag } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { queries } from "../../api/queries";
import type { Repo } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useUrlState } from "../useUrlState";
import { ActiveFilters } from "./ActiveFilters";
import { countFilters, FILTERS, toQuery } from "./search";

const PAGE_SIZE = 24;

interface Props {
  kind: Repo["kind"];
  nothing: ReactNode;
}

export function RepoCards({ kind, nothing }: Props) {
  const { text } = useWords();
  const [read, write] = useUrlState();
  const { data: me } = useQuery(queries.me());
  const page = Number(read("page")) || 1;
  const repos = useQuery({
    ...queries.repos({ ...toQuery(read, me?.username), kind, page, page_size: PAGE_SIZE }),
    placeholderData: keepPreviousData,
  });
  const isFiltered = countFilters(read) > 0;
  const clear = () => write({ ...Object.fromEntries(FILTERS.map((name) => [name, ""])), page: "" });
  return (
    <Loaded query={repos}>
      {({ results, count }) => (
        <>
          <ActiveFilters count={count} />
          {results.length === 0 ? (
            <div className="panel">
              {isFiltered ? (
                <EmptyState
                  title={text.hub.noneMatch}
                  action={<Button onClick={clear}>{text.hub.clear}</Button>}
                />
              ) : (
                nothing
              )}
            </div>
          ) : (
            <>
              <div className="cards">
                {results.map((repo) => (
                  <RepoCard key={repo.id} repo={repo} />
                ))}
              </div>
              <Pagination
                style={{ marginTop: 18 }}
                current={page}
                pageSize={PAGE_SIZE}
                total={count}
                hideOnSinglePage
                showSizeChanger={false}
                onChange={(value) => write({ page: value > 1 ? String(value) : "" })}
              />
            </>
          )}
        </>
      )}
    </Loaded>
  );
}

function RepoCard({ repo }: { repo: Repo }) {
  const { text, format } = useWords();
  const [namespace, name] = repo.id.split("/");
  const folder = repo.kind === "model" ? "models" : "datasets";
  return (
    <Link to={`/${folder}/${repo.id}`} className="panel repo-card">
      <div className="repo-name">
        <span className="muted">{namespace}/</span>
        <b>{name}</b>
        {repo.visibility === "private" && (
          <LockOutlined role="img" aria-label={text.private} style={{ marginLeft: 6 }} />
        )}
      </div>
      <p className="muted">{repo.summary || repo.base_model}</p>
      <div className="row small muted">
        {repo.kind === "model" && (
          <Tag variant="filled" style={{ margin: 0 }}>
            {text.hub.role[repo.role]}
          </Tag>
        )}
        {repo.num_rows !== null && (
          <span className="num">{text.hub.rows(format.number(repo.num_rows))}</span>
        )}
        <span className="num">{format.bytes(repo.size_bytes)}</span>
        {repo.num_params !== null && (
          <span className="num">
            {format.compact(repo.num_params)} {text.finding.label.params}
          </span>
        )}
        {repo.license && <span>{repo.license}</span>}
        {repo.likes > 0 && (
          <span className="num">
            <HeartOutlined /> {format.number(repo.likes)}
          </span>
        )}
        <RelativeTime iso={repo.updated_at} />
      </div>
    </Link>
  );
}
