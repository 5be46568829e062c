// Picks a dataset that suits the stage; one that does not says why, and cannot be picked where it would be refused.

import { Select } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { SuitedDataset } from "../../api/shapes";
import { trainingQueries } from "../../api/trainingQueries";
import { useWords } from "../../i18n";
import { useDelayed } from "../useDelayed";
import { useTrainingWords } from "./words";

interface Props {
  stage: string;
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  hasError: boolean;
  label?: string;
}

const REFUSED: ReadonlySet<string> = new Set(["needs_pairs", "is_pairs"]);

export function DatasetPicker({ stage, id, value, onChange, hasError, label }: Props) {
  const { text, format } = useWords();
  const words = useTrainingWords();
  const [search, setSearch] = useState("");
  const wanted = useDelayed(search, 250);
  const { data, isFetching } = useQuery({
    ...trainingQueries.datasets(stage, wanted),
    placeholderData: keepPreviousData,
  });
  const noteOf = ({ num_rows, size_bytes, formats, verdict }: SuitedDataset) => {
    const size =
      num_rows === null ? format.bytes(size_bytes) : text.hub.rows(format.number(num_rows));
    const what = formats.map((name) => words.format[name] ?? name).join(", ");
    return [size, words.verdict[verdict] || what].filter(Boolean).join(" · ");
  };
  const found = (data ?? []).map((dataset) => ({
    value: dataset.id,
    label: dataset.id,
    note: noteOf(dataset),
    disabled: REFUSED.has(dataset.verdict),
  }));
  const typed =
    /^[\w.-]+\/[\w.-]+(@\S+)?$/.test(search) && !found.some((item) => item.value === search);
  const options = typed
    ? [...found, { value: search, label: search, note: "", disabled: false }]
    : found;
  return (
    <Select
      id={id}
      showSearch={{ filterOption: false, onSearch: setSearch, searchValue: search }}
      style={{ width: "100%" }}
      status={hasError ? "error" : undefined}
      aria-describedby={label ? undefined : `${id}-help`}
      aria-label={label}
      placeholder={text.launch.pickDataset}
      value={typeof value === "string" && value ? value : undefined}
      loading={isFetching}
      onChange={(next) => {
        onChange(next);
        setSearch("");
      }}
      notFoundContent={text.launch.noDatasets}
      options={options}
      optionRender={(option) => (
        <span className="row between" style={{ flexWrap: "nowrap" }}>
          <span className="ellipsis">{option.label}</span>
          <span className="small num option-note">{option.data.note}</span>
        </span>
      )}
    />
  );
}
