// The tensors of a file of weights, page by page, as its header names them.

import { Input, Pagination } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import type { RepoDetail, Tensor, TensorPage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Facts } from "../../widgets/Facts";
import { Loaded } from "../../widgets/Loaded";

const PAGE_SIZE = 50;

export function TensorTable({ repo, path }: { repo: RepoDetail; path: string }) {
  const { text, format } = useWords();
  const words = text.repo.tensors;
  const [page, setPage] = useState(1);
  const [search, setSearch] = useState("");
  const tensors = useQuery({
    ...queries.tensors(repo, {
      revision: repo.revision,
      path,
      search,
      page,
      page_size: PAGE_SIZE,
    }),
    placeholderData: keepPreviousData,
  });
  return (
    <Loaded query={tensors}>
      {(data) => (
        <>
          <div className="log-tools">
            <Input.Search
              allowClear
              style={{ maxWidth: 260 }}
              aria-label={words.search}
              placeholder={words.search}
              onSearch={(value) => {
                setPage(1);
                setSearch(value.trim());
              }}
            />
            <span className="muted small num">
              {words.total(format.number(data.num_tensors), format.compact(data.num_params))}
              {" · "}
              {Object.keys(data.dtypes).slice(0, 6).join(", ")}
            </span>
          </div>
          {data.results.length > 0 ? (
            <Rows tensors={data.results} />
          ) : (
            <EmptyState title={words.none} />
          )}
          <Pagination
            style={{ padding: 14 }}
            current={page}
            pageSize={PAGE_SIZE}
            total={data.count}
            hideOnSinglePage
            showSizeChanger={false}
            onChange={setPage}
          />
          <Metadata metadata={data.metadata} />
        </>
      )}
    </Loaded>
  );
}

function Rows({ tensors }: { tensors: Tensor[] }) {
  const { text, format } = useWords();
  const words = text.repo.tensors;
  return (
    <DataTable<Tensor>
      rowKey="name"
      size="small"
      dataSource={tensors}
      pagination={false}
      columns={[
        { title: words.name, dataIndex: "name", className: "mono" },
        { title: words.dtype, dataIndex: "dtype", className: "mono" },
        {
          title: words.shape,
          key: "shape",
          className: "mono",
          render: (_, { shape }) => `[${shape.join(", ")}]`,
        },
        {
          title: words.numbers,
          key: "numbers",
          align: "right",
          className: "num",
          render: (_, { num_params }) => format.number(num_params),
        },
      ]}
    />
  );
}

function Metadata({ metadata }: Pick<TensorPage, "metadata">) {
  const { text } = useWords();
  const entries = Object.entries(metadata);
  if (entries.length === 0) return null;
  return (
    <details className="file-note">
      <summary>{text.repo.tensors.metadata}</summary>
      <Facts facts={entries} />
    </details>
  );
}
