// The rows of a dataset, drawn as the conversations they are.

import { Input, Pagination } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataRow } from "../../widgets/DataRow";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { useUrlState } from "../useUrlState";

const PAGE_SIZE = 20;

export function RowsTab({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.viewer;
  const [read, write] = useUrlState();
  const [search, setSearch] = useState(read("q"));
  const page = Number(read("page")) || 1;
  const rows = useQuery({
    ...queries.rows(repo.id, {
      revision: repo.revision,
      offset: (page - 1) * PAGE_SIZE,
      limit: PAGE_SIZE,
      search: read("q"),
    }),
    placeholderData: keepPreviousData,
  });
  return (
    <div className="panel flush">
      <div className="log-tools">
        <Input.Search
          allowClear
          style={{ maxWidth: 300 }}
          aria-label={words.search}
          placeholder={words.search}
          value={search}
          onChange={(event) => setSearch(event.target.value)}
          onSearch={(value) => write({ q: value.trim(), page: "" })}
        />
        <span className="muted small num">
          {rows.data && words.total(format.number(rows.data.total))}
        </span>
      </div>
      <Loaded query={rows}>
        {(data) => (
          <>
            {data.rows.length === 0 && <EmptyState title={words.empty} />}
            {data.rows.map((row) => (
              <DataRow key={row.line} row={row} />
            ))}
            <Pagination
              style={{ padding: 14 }}
              current={page}
              pageSize={PAGE_SIZE}
              total={data.total}
              hideOnSinglePage
              showSizeChanger={false}
              onChange={(value) => write({ page: value > 1 ? String(value) : "" })}
            />
          </>
        )}
      </Loaded>
    </div>
  );
}
