// Any dataset as a table: choose subset, split and file, page through the rows, search within.

import { Alert, Button, Input, Select } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import type { RepoDetail, TableCell, TablePage, Tables } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { useUrlState } from "../useUrlState";
import { ColumnStatistics } from "./ColumnStatistics";

const PAGE_SIZE = 20;

export function TableTab({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.finding.table;
  const tables = useQuery(queries.tables(repo.id, repo.revision));
  return (
    <Loaded query={tables}>
      {({ configs }) =>
        configs.length === 0 ? (
          <div className="panel">
            <EmptyState title={words.none} text={words.noneText} />
          </div>
        ) : (
          <TableView repo={repo} configs={configs} />
        )
      }
    </Loaded>
  );
}

function TableView({ repo, configs }: { repo: RepoDetail; configs: Tables["configs"] }) {
  const { text } = useWords();
  const words = text.finding.table;
  const [read, write] = useUrlState();
  const [search, setSearch] = useState(read("find"));
  const config = configs.find(({ name }) => name === read("config")) ?? configs[0];
  const split = config?.splits.find(({ name }) => name === read("split")) ?? config?.splits[0];
  const path = split?.paths.find((name) => name === read("file")) ?? split?.paths[0] ?? "";
  const offset = Number(read("offset")) || 0;
  const page = useQuery({
    ...queries.tablePage(repo.id, {
      revision: repo.revision,
      path,
      config: path ? "" : config?.name,
      split: path ? "" : split?.name,
      offset: offset || undefined,
      limit: PAGE_SIZE,
      search: read("find"),
    }),
    placeholderData: keepPreviousData,
  });
  const choose = (name: string, label: string, values: string[], value?: string) =>
    values.length > 1 && (
      <Select
        aria-label={label}
        value={value}
        options={values.map((item) => ({ value: item, label: item }))}
        onChange={(item) => write({ [name]: item, offset: "" })}
        popupMatchSelectWidth={false}
        style={{ maxWidth: 260 }}
      />
    );
  const names = (items?: { name: string }[]) => items?.map(({ name }) => name) ?? [];
  return (
    <div className="stack">
      <div className="panel flush">
        <div className="log-tools">
          {choose("config", words.config, names(configs), config?.name)}
          {choose("split", words.split, names(config?.splits), split?.name)}
          {choose("file", words.file, split?.paths ?? [], path)}
          <Input.Search
            allowClear
            style={{ maxWidth: 260 }}
            aria-label={words.search}
            placeholder={words.search}
            value={search}
            onChange={(event) => setSearch(event.target.value)}
            onSearch={(value) => write({ find: value.trim(), offset: "" })}
          />
        </div>
        <Loaded query={page}>
          {(data) => (
            <Rows
              page={data}
              offset={offset}
              isSearch={Boolean(read("find"))}
              onGo={(to) => write({ offset: to > 0 ? String(to) : "" })}
            />
          )}
        </Loaded>
      </div>
      {path && <ColumnStatistics id={repo.id} revision={repo.revision} path={path} />}
    </div>
  );
}

interface RowsProps {
  page: TablePage;
  offset: number;
  isSearch: boolean;
  onGo: (offset: number) => void;
}

function Rows({ page, offset, isSearch, onGo }: RowsProps) {
  const { text, format } = useWords();
  const words = text.finding.table;
  if (page.rows.length === 0 && !page.is_partial) return <EmptyState title={words.empty} />;
  return (
    <>
      {page.is_partial && (
        <Alert banner type="warning" title={isSearch ? words.partial : words.cut} />
      )}
      <div className="table-scroll" tabIndex={0} role="region" aria-label={words.tab}>
        <table className="cells">
          <thead>
            <tr>
              <th scope="col">{words.row}</th>
              {page.columns.map((name, index) => (
                <th scope="col" key={name}>
                  {name} <span className="muted small">{page.types[index]}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {page.rows.map((row) => (
              <tr key={row.index}>
                <td className="muted num">{format.number(row.index + 1)}</td>
                {row.cells.map((cell, index) => (
                  <td key={page.columns[index]}>
                    <Shown cell={cell} />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div className="log-tools">
        <Button disabled={offset === 0} onClick={() => onGo(Math.max(0, offset - PAGE_SIZE))}>
          {words.previous}
        </Button>
        <Button
          disabled={!page.has_more || page.is_partial}
          onClick={() => onGo(offset + PAGE_SIZE)}
        >
          {words.next}
        </Button>
        {page.total !== null && (
          <span className="muted small num">{words.rows(format.number(page.total))}</span>
        )}
      </div>
    </>
  );
}

function Shown({ cell }: { cell: TableCell }) {
  const { text } = useWords();
  const { picture, sound } = text.finding.table;
  if (cell.kind === "null") return <span className="muted">–</span>;
  if (cell.kind === "image") {
    return <img src={cell.url} alt={cell.text || picture} loading="lazy" />;
  }
  if (cell.kind === "audio") {
    return <audio controls preload="none" src={cell.url} aria-label={cell.text || sound} />;
  }
  return (
    <div className={cell.kind === "text" ? "said" : "mono"}>
      {cell.text}
      {cell.is_cut && "…"}
    </div>
  );
}
