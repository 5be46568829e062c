// What a list is narrowed to, as chips that can be dropped, and the order it is in.

import { Button, Select, Tag } from "antd";
import { useWords } from "../../i18n";
import { useUrlState } from "../useUrlState";
import { countFilters, FILTERS, listOf, type Range, RANGES, splitRange } from "./search";

const MANY = new Set(["task", "language", "modality", "format", "license", "library", "tag"]);

export function ActiveFilters({ count }: { count: number }) {
  const { text, format } = useWords();
  const words = text.finding;
  const [read, write] = useUrlState();
  const sayRange = (name: Range, value: string) => {
    const say = name === "size" ? format.bytes : format.compact;
    const [least, most] = splitRange(value);
    if (!least) return words.range.below(say(Number(most)));
    return most
      ? words.range.between(say(Number(least)), say(Number(most)))
      : words.range.above(say(Number(least)));
  };
  const chips = FILTERS.flatMap((name) => {
    const values = MANY.has(name) ? listOf(read(name)) : [read(name)].filter(Boolean);
    return values.map((value) => {
      const label = words.label[name] ?? name;
      const isFlag = ["mine", "liked"].includes(name);
      const plain = name === "gated" ? (words.gatedIs[value] ?? value) : value;
      const said = name in RANGES ? sayRange(name as Range, value) : plain;
      const left = MANY.has(name) ? listOf(read(name)).filter((item) => item !== value) : [];
      return { key: `${name} ${value}`, name, said: isFlag ? label : `${label}: ${said}`, left };
    });
  });
  const clear = () => write({ ...Object.fromEntries(FILTERS.map((name) => [name, ""])), page: "" });
  return (
    <div className="active-filters">
      <span className="muted small num" role="status">
        {words.found(format.number(count))}
      </span>
      {chips.map(({ key, name, said, left }) => (
        <Tag
          key={key}
          closable={{ "aria-label": words.drop(said) }}
          onClose={(event) => {
            event.preventDefault();
            write({ [name]: left.join(","), page: "" });
          }}
        >
          {said}
        </Tag>
      ))}
      {countFilters(read) > 1 && (
        <Button type="link" size="small" onClick={clear}>
          {text.hub.clear}
        </Button>
      )}
      <Select
        aria-label={words.sort}
        value={read("sort") || "updated"}
        onChange={(value) => write({ sort: value === "updated" ? "" : value, page: "" })}
        options={Object.entries(words.sorts).map(([value, label]) => ({ value, label }))}
        popupMatchSelectWidth={false}
      />
    </div>
  );
}
