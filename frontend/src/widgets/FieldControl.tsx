// The control of one spec field, by its kind.

import { Input, InputNumber, Segmented, Select, Switch } from "antd";
import { useWords } from "../i18n";
import type { SpecField } from "../stores/specSchema";
import { PairsControl } from "./PairsControl";

interface Props {
  field: SpecField;
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  hasError: boolean;
  /** What options are called, where not by their own names. */
  names?: Readonly<Record<string, string>> | undefined;
}

export function FieldControl({ field, id, value, onChange, hasError, names }: Props) {
  const { text } = useWords();
  const status = hasError ? ("error" as const) : undefined;
  const described = {
    id,
    status,
    "aria-describedby": hasError ? `${id}-error ${id}-help` : `${id}-help`,
    "aria-invalid": hasError,
  };
  switch (field.kind) {
    case "integer":
    case "number":
      return (
        <InputNumber<number>
          {...described}
          style={{ width: "100%" }}
          value={typeof value === "number" ? value : null}
          placeholder={field.isNullable ? text.launch.notSet : undefined}
          precision={field.kind === "integer" ? 0 : undefined}
          suffix={field.unit ? (text.units[field.unit] ?? field.unit) : undefined}
          controls={field.kind === "integer"}
          onChange={(next) => onChange(next ?? (field.isNullable ? null : undefined))}
        />
      );
    case "boolean":
      return (
        <Switch
          id={id}
          checked={value === true}
          onChange={onChange}
          aria-labelledby={`${id}-label`}
        />
      );
    case "choice":
      return field.options.length <= 3 ? (
        <Segmented
          id={id}
          block
          aria-labelledby={`${id}-label`}
          value={String(value)}
          options={field.options.map((value) => ({ value, label: names?.[value] ?? value }))}
          onChange={onChange}
        />
      ) : (
        <Select
          {...described}
          value={value}
          options={field.options.map((option) => ({ value: option }))}
          onChange={onChange}
        />
      );
    case "list":
      return (
        <Select
          {...described}
          mode="tags"
          open={false}
          suffixIcon={null}
          style={{ width: "100%" }}
          maxCount={field.maxItems}
          value={Array.isArray(value) ? value.map(String) : []}
          onChange={onChange}
        />
      );
    case "pairs":
      return (
        <PairsControl {...described} labelledBy={`${id}-label`} value={value} onChange={onChange} />
      );
    default:
      return (
        <Input
          {...described}
          value={typeof value === "string" ? value : ""}
          maxLength={field.maxLength}
          onChange={(event) => onChange(event.target.value)}
        />
      );
  }
}
