// The panel of filters beside a list of repos; all of them live in the address.

import { Checkbox, Input, Segmented, Select } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import type { Repo } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useUrlState } from "../useUrlState";
import { FACETS, type Facet, listOf, RANGES, type Range, toQuery } from "./search";

interface Props {
  kind: Repo["kind"];
  roles?: readonly { value: string; label: string }[];
}

const SHOWN = 8;
const DAYS = { day: 1, week: 7, month: 30, year: 365 } as const;

export function RepoFilters({ kind, roles }: Props) {
  const { text } = useWords();
  const [read, write] = useUrlState();
  const [search, setSearch] = useState(read("search"));
  const wanted = read("search");
  const [seen, setSeen] = useState(wanted);
  if (seen !== wanted) {
    setSeen(wanted); // the address was changed from elsewhere, such as by dropping a chip
    setSearch(wanted);
  }
  const isWide = matchMedia("(min-width: 900px)").matches;
  const flag = (name: string, label: string) => (
    <Checkbox
      checked={Boolean(read(name))}
      onChange={(event) =>
        write({ [name]: event.target.checked ? (name === "mine" ? "yes" : "true") : "", page: "" })
      }
    >
      {label}
    </Checkbox>
  );
  return (
    <aside className="panel repo-filters" aria-label={text.finding.filters}>
      <Input.Search
        allowClear
        aria-label={text.hub.searchPlaceholder}
        placeholder={text.hub.searchPlaceholder}
        value={search}
        onChange={(event) => setSearch(event.target.value)}
        onSearch={(value) => write({ search: value.trim(), page: "" })}
      />
      {roles && (
        <Segmented
          block
          aria-label={text.hub.col.role}
          value={read("role") || "all"}
          onChange={(value) => write({ role: value === "all" ? "" : value, page: "" })}
          options={[...roles]}
        />
      )}
      <details open={isWide}>
        <summary>{text.finding.filters}</summary>
        <div className="filter-flags">
          {flag("mine", text.hub.onlyMine)}
          {flag("liked", text.finding.label.liked ?? "")}
        </div>
        <GatedSelect />
        {kind === "model" && <BaseInput />}
        <FacetLists kind={kind} />
        {(["size", kind === "dataset" ? "rows" : "params"] as const).map((name) => (
          <RangeSelect key={name} name={name} />
        ))}
        <SinceSelect />
      </details>
    </aside>
  );
}

function FacetLists({ kind }: { kind: Repo["kind"] }) {
  const { text, format } = useWords();
  const [read, write] = useUrlState();
  const { data: me } = useQuery(queries.me());
  const facets = useQuery({
    ...queries.facets({ ...toQuery(read, me?.username), kind }),
    placeholderData: keepPreviousData,
  });
  const toggle = (name: Facet, value: string) => {
    const chosen = listOf(read(name));
    const others = chosen.filter((item) => item !== value);
    const next = name === "organization" ? [value] : [...chosen, value];
    write({ [name]: (others.length < chosen.length ? others : next).join(","), page: "" });
  };
  return FACETS.map((name) => {
    const values = facets.data?.[name] ?? [];
    const chosen = listOf(read(name));
    if (values.length === 0 && chosen.length === 0) return null;
    const missing = chosen.filter((value) => !values.some((item) => item.value === value));
    const shown = [...missing.map((value) => ({ value, count: 0 })), ...values].slice(0, SHOWN);
    return (
      <fieldset key={name}>
        <legend>{text.finding.label[name]}</legend>
        {shown.map(({ value, count }) => (
          <Checkbox
            key={value}
            checked={chosen.includes(value)}
            onChange={() => toggle(name, value)}
          >
            {value} <span className="muted num small">{format.number(count)}</span>
          </Checkbox>
        ))}
      </fieldset>
    );
  });
}

function RangeSelect({ name }: { name: Range }) {
  const { text, format } = useWords();
  const { range, label, any } = text.finding;
  const [read, write] = useUrlState();
  const say = name === "size" ? format.bytes : format.compact;
  const steps = RANGES[name];
  const options = [
    { value: "", label: any },
    ...steps.map((most, index) => {
      const least = steps[index - 1];
      return least === undefined
        ? { value: `-${most}`, label: range.below(say(most)) }
        : { value: `${least}-${most}`, label: range.between(say(least), say(most)) };
    }),
    { value: `${steps.at(-1)}-`, label: range.above(say(steps.at(-1) ?? 0)) },
  ];
  return (
    <label className="filter-select">
      {label[name]}
      <Select
        aria-label={label[name]}
        value={read(name)}
        options={options}
        onChange={(value) => write({ [name]: value, page: "" })}
      />
    </label>
  );
}

function GatedSelect() {
  const { text } = useWords();
  const { label, any, gatedIs } = text.finding;
  const [read, write] = useUrlState();
  return (
    <label className="filter-select">
      {label.gated}
      <Select
        aria-label={label.gated}
        value={read("gated")}
        options={[
          { value: "", label: any },
          { value: "false", label: gatedIs.false },
          { value: "true", label: gatedIs.true },
        ]}
        onChange={(value) => write({ gated: value, page: "" })}
      />
    </label>
  );
}

function BaseInput() {
  const { text } = useWords();
  const [read, write] = useUrlState();
  const wanted = read("base_model");
  return (
    <label className="filter-select">
      {text.finding.label.base_model}
      <Input.Search
        key={wanted}
        allowClear
        defaultValue={wanted}
        aria-label={text.finding.label.base_model}
        placeholder={text.repo.filters.baseModel}
        onSearch={(value) => write({ base_model: value.trim(), page: "" })}
      />
    </label>
  );
}

function SinceSelect() {
  const { text } = useWords();
  const { since, label, any } = text.finding;
  const [read, write] = useUrlState();
  const chosen = read("updated_since");
  const [today] = useState(() => Date.now());
  const options = [
    { value: "", label: any },
    ...Object.entries(DAYS).map(([name, days]) => ({
      value: new Date(today - days * 86_400_000).toISOString().slice(0, 10),
      label: since[name as keyof typeof DAYS],
    })),
  ];
  if (!options.some((option) => option.value === chosen)) {
    options.push({ value: chosen, label: chosen });
  }
  return (
    <label className="filter-select">
      {label.updated_since}
      <Select
        aria-label={label.updated_since}
        value={chosen}
        options={options}
        onChange={(value) => write({ updated_since: value, page: "" })}
      />
    </label>
  );
}
