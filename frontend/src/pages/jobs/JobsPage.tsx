// All jobs, with filters that live in the address.

import { FireOutlined } from "../../widgets/icons";
import { Button, Input, Segmented, type TableColumnsType } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { RUNNING, queries } from "../../api/queries";
import type { Job } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { EmptyState } from "../../widgets/EmptyState";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { useUrlState } from "../useUrlState";
import { JobProgress } from "./JobProgress";
import { DataTable } from "../../widgets/DataTable";

const FILTERS = ["all", "live", "succeeded", "failed", "stopped"] as const;
type Filter = (typeof FILTERS)[number];

const statusOf = (filter: string) =>
  filter === "live" ? RUNNING : filter === "all" || filter === "" ? undefined : filter;

function useColumns(): TableColumnsType<Job> {
  const { text, format, language } = useWords();
  const { col } = text.jobs;
  return [
    {
      title: col.name,
      key: "name",
      render: (_, job) => (
        <>
          <Link to={`/jobs/${job.id}`} className="break">
            {job.name}
          </Link>
          <div className="muted small">
            {text.jobs.kind[job.kind] ?? job.kind}
            {job.runs.length > 1 && ` · ${text.jobs.runIndex(job.run.index)}`}
          </div>
        </>
      ),
    },
    {
      title: col.status,
      key: "status",
      render: (_, job) => (
        <>
          <StateTag state={job.status} word={text.status[job.status]} />
          <div className="muted small">
            <RelativeTime iso={job.status_since} />
          </div>
        </>
      ),
    },
    {
      title: col.progress,
      key: "progress",
      width: 280,
      responsive: ["md"],
      render: (_, job) =>
        job.ended_at ? (
          <span className="muted small">
            {text.reason[job.reason] ?? sayTold(language, job.message, job.told)}
          </span>
        ) : (
          <JobProgress job={job} isSmall />
        ),
    },
    {
      title: col.cost,
      key: "cost",
      align: "right",
      className: "num",
      render: (_, job) => format.points(job.cost_mpoints),
    },
    { title: col.flavor, dataIndex: "flavor", responsive: ["lg"], className: "mono" },
    {
      title: col.created,
      key: "created",
      responsive: ["lg"],
      render: (_, job) => <RelativeTime iso={job.created_at} />,
    },
  ];
}

export function JobsPage() {
  const { text } = useWords();
  const words = text.jobs;
  const [read, write] = useUrlState();
  const [search, setSearch] = useState(read("search"));
  const filter = read("state") || "all";
  const page = Number(read("page")) || 1;
  const jobs = useQuery({
    ...queries.jobs({ status: statusOf(filter), search: read("search"), page, page_size: 20 }),
    placeholderData: keepPreviousData,
  });
  const columns = useColumns();
  const isFiltered = filter !== "all" || read("search") !== "";
  const clear = () => {
    setSearch("");
    write({ state: "", search: "", page: "" });
  };
  const nothing = isFiltered ? (
    <EmptyState title={words.noneMatch} action={<Button onClick={clear}>{words.clear}</Button>} />
  ) : (
    <EmptyState
      title={words.empty}
      text={words.emptyText}
      action={
        <LinkButton to="/launch" type="primary">
          {text.home.launch}
        </LinkButton>
      }
    />
  );
  return (
    <div className="page">
      <PageHead
        title={words.title}
        lead={words.lead}
        actions={
          <LinkButton to="/launch" type="primary" icon={<FireOutlined />}>
            {words.launch}
          </LinkButton>
        }
      />
      <div className="filters">
        <div className="table-scroll">
          <Segmented<Filter>
            aria-label={words.col.status}
            value={filter as Filter}
            onChange={(value) => write({ state: value === "all" ? "" : value, page: "" })}
            options={FILTERS.map((value) => ({ value, label: words.filter[value] }))}
          />
        </div>
        <Input.Search
          allowClear
          style={{ maxWidth: 260 }}
          aria-label={words.searchPlaceholder}
          placeholder={words.searchPlaceholder}
          value={search}
          onChange={(event) => setSearch(event.target.value)}
          onSearch={(value) => write({ search: value.trim(), page: "" })}
        />
      </div>
      <div className="panel flush">
        <Loaded query={jobs}>
          {({ results, count, page_size }) => (
            <DataTable<Job>
              rowKey="id"
              columns={columns}
              dataSource={results}
              locale={{ emptyText: nothing }}
              pagination={{
                current: page,
                pageSize: page_size,
                total: count,
                hideOnSinglePage: true,
                onChange: (value) => write({ page: value > 1 ? String(value) : "" }),
              }}
            />
          )}
        </Loaded>
      </div>
    </div>
  );
}
