// Names and values that people write, a row for each. A name that is empty or there twice is not told yet.

import { Button, Input } from "antd";
import { useState } from "react";
import { useWords } from "../i18n";
import { DeleteOutlined } from "./icons";

type Row = readonly [name: string, value: string];

interface Props {
  id: string;
  status: "error" | undefined;
  labelledBy: string;
  "aria-describedby": string;
  value: unknown;
  onChange: (value: Record<string, string>) => void;
}

const toRows = (value: unknown): Row[] =>
  typeof value === "object" && value !== null
    ? Object.entries(value).map(([name, own]) => [name, String(own)])
    : [];

const toValue = (rows: readonly Row[]): Record<string, string> =>
  Object.fromEntries(rows.filter(([name]) => name.trim()).map(([name, own]) => [name.trim(), own]));

export function PairsControl({ id, status, labelledBy, value, onChange, ...described }: Props) {
  const { text } = useWords();
  const words = text.launch.pairs;
  const [rows, setRows] = useState<readonly Row[]>(() => toRows(value));
  const change = (next: readonly Row[]) => {
    setRows(next);
    onChange(toValue(next));
  };
  const edit = (index: number, row: Row) =>
    change(rows.map((old, place) => (place === index ? row : old)));
  return (
    <div role="group" id={id} tabIndex={-1} aria-labelledby={labelledBy} {...described}>
      {rows.map(([name, own], index) => (
        <div key={index} className="row" style={{ flexWrap: "nowrap", marginBottom: 6 }}>
          <Input
            style={{ flex: 1 }}
            status={status}
            aria-label={words.name(index + 1)}
            placeholder={words.namePlaceholder}
            value={name}
            onChange={(event) => edit(index, [event.target.value, own])}
          />
          <Input
            style={{ flex: 2 }}
            status={status}
            aria-label={words.value(index + 1)}
            placeholder={words.valuePlaceholder}
            value={own}
            onChange={(event) => edit(index, [name, event.target.value])}
          />
          <Button
            icon={<DeleteOutlined />}
            aria-label={text.launch.removeItem(name)}
            onClick={() => change(rows.filter((_, place) => place !== index))}
          />
        </div>
      ))}
      <Button size="small" onClick={() => setRows([...rows, ["", ""]])}>
        {text.launch.add}
      </Button>
    </div>
  );
}
