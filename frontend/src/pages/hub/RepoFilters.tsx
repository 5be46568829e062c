// The filters above a list of repos; all of them live in the address.

import { Checkbox, Input, Segmented } from "antd";
import { useState } from "react";
import { useWords } from "../../i18n";
import { useUrlState } from "../useUrlState";

interface Props {
  roles?: readonly { value: string; label: string }[];
}

export function RepoFilters({ roles }: Props) {
  const { text } = useWords();
  const [read, write] = useUrlState();
  const [search, setSearch] = useState(read("search"));
  return (
    <div className="filters" style={{ alignItems: "center" }}>
      {roles && (
        <Segmented
          aria-label={text.hub.col.role}
          value={read("role") || "all"}
          onChange={(value) => write({ role: value === "all" ? "" : value, page: "" })}
          options={[...roles]}
        />
      )}
      <Input.Search
        allowClear
        style={{ maxWidth: 300 }}
        aria-label={text.hub.searchPlaceholder}
        placeholder={text.hub.searchPlaceholder}
        value={search}
        onChange={(event) => setSearch(event.target.value)}
        onSearch={(value) => write({ search: value.trim(), page: "" })}
      />
      <Checkbox
        checked={read("mine") === "yes"}
        onChange={(event) => write({ mine: event.target.checked ? "yes" : "", page: "" })}
      >
        {text.hub.onlyMine}
      </Checkbox>
    </div>
  );
}
