// Picks a model or a dataset of the hub by typing; a name with a revision may be written in full.

import { Select } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { useDelayed } from "../useDelayed";

interface Props {
  kind: "model" | "dataset";
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  hasError: boolean;
  /** What is taken where nothing is picked: then it may be taken back. */
  placeholder?: string;
}

export function RepoPicker({ kind, id, value, onChange, hasError, placeholder }: Props) {
  const { text, format } = useWords();
  const [search, setSearch] = useState("");
  const wanted = useDelayed(search, 250);
  const filter = kind === "model" ? { kind, role: "base" } : { kind };
  const { data, isFetching } = useQuery({
    ...queries.repos({ ...filter, search: wanted, page_size: 30 }),
    placeholderData: keepPreviousData,
  });
  const found = (data?.results ?? []).map((repo) => ({
    value: repo.id,
    label: repo.id,
    note:
      kind === "dataset" && repo.num_rows !== null
        ? text.hub.rows(format.number(repo.num_rows))
        : format.bytes(repo.size_bytes),
  }));
  const typed =
    /^[\w.-]+\/[\w.-]+(@\S+)?$/.test(search) && !found.some((item) => item.value === search);
  const options = typed ? [...found, { value: search, label: search, note: "" }] : found;
  return (
    <Select
      id={id}
      showSearch={{ filterOption: false, onSearch: setSearch, searchValue: search }}
      style={{ width: "100%" }}
      status={hasError ? "error" : undefined}
      aria-describedby={`${id}-help`}
      placeholder={
        placeholder ?? (kind === "model" ? text.launch.pickModel : text.launch.pickDataset)
      }
      allowClear={placeholder !== undefined}
      value={typeof value === "string" && value ? value : undefined}
      loading={isFetching}
      onChange={(next?: string) => {
        onChange(next ?? null);
        setSearch("");
      }}
      notFoundContent={kind === "model" ? text.launch.noModels : text.launch.noDatasets}
      options={options}
      optionRender={(option) => (
        <span className="row between" style={{ flexWrap: "nowrap" }}>
          <span className="ellipsis">{option.label}</span>
          <span className="muted small num">{option.data.note}</span>
        </span>
      )}
    />
  );
}
