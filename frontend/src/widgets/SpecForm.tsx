// Draws a form from a spec's fields. It knows fields and values; pickers that ask the studio come from outside.

import { Collapse } from "antd";
import type { ReactNode } from "react";
import { useWords } from "../i18n";
import { fields as chineseFields, type FieldWords } from "../i18n/zh/fields";
import type { SpecValue } from "../api/shapes";
import { leavesOf, valueAt, withValue, type SpecField } from "../stores/specSchema";
import { WithCode } from "./WithCode";
import { FieldControl } from "./FieldControl";

/** Draws a field's control. Called, not mounted: one that is made anew at each render keeps its state all the same. */
export type FieldWidget = (props: {
  field: SpecField;
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  hasError: boolean;
}) => ReactNode;

interface Props {
  fields: readonly SpecField[];
  value: SpecValue;
  onChange: (value: SpecValue) => void;
  /** By field name, such as `lora.rank`. */
  errors: ReadonlyMap<string, string>;
  widgets?: Readonly<Record<string, FieldWidget>>;
  /** Before the names of fields whose words are another form's too, such as `script.`; others go without. */
  scope?: string;
}

export const fieldId = (name: string): string => `field-${name.replaceAll(".", "-")}`;

export function SpecForm({ fields, value, onChange, errors, widgets = {}, scope = "" }: Props) {
  const { text } = useWords();
  const leaves = leavesOf(fields, value);
  const plain = leaves.filter((field) => !field.isAdvanced);
  const advanced = leaves.filter((field) => field.isAdvanced);
  const hasHiddenError = advanced.some((field) => errors.has(field.name));
  const draw = (list: readonly SpecField[]) => (
    <div className="fields">
      {list.map((field) => (
        <FormField
          key={field.name}
          field={field}
          value={valueAt(value, field.path)}
          error={errors.get(field.name)}
          widget={widgets[field.widget]}
          scope={scope}
          onChange={(next) => onChange(withValue(value, field.path, next))}
        />
      ))}
    </div>
  );
  return (
    <>
      {draw(plain)}
      {advanced.length > 0 && (
        <Collapse
          ghost
          style={{ marginTop: 14 }}
          // An error inside must be seen: the fold opens by itself.
          {...(hasHiddenError ? { activeKey: ["advanced"] } : {})}
          items={[
            {
              key: "advanced",
              label: text.launch.advanced,
              children: draw(advanced),
              forceRender: true,
            },
          ]}
        />
      )}
    </>
  );
}

/** Widgets that take the whole width. */
const WIDE: ReadonlySet<string> = new Set(["stage", "method", "quant_method", "mixture"]);
/** Widgets whose choices each say what they are. */
const CARDS: ReadonlySet<string> = new Set(["stage", "method", "quant_method"]);

interface FieldProps {
  field: SpecField;
  value: unknown;
  error: string | undefined;
  widget: FieldWidget | undefined;
  scope: string;
  onChange: (value: unknown) => void;
}

function FormField({ field, value, error, widget, scope, onChange }: FieldProps) {
  const { text, format, language } = useWords();
  const id = fieldId(field.name);
  // Not part of the catalogue, which the first page waits for; English comes with the schema.
  const chinese = chineseFields[scope + field.name] ?? chineseFields[field.name];
  const words: FieldWords = (language === "zh" && chinese) || {
    title: field.title,
    help: field.help,
  };
  const isFull = field.kind === "list" || field.kind === "pairs" || WIDE.has(field.widget);
  const control = { field, id, value, onChange, hasError: error !== undefined };
  const range = rangeText(field, text.launch, (bound) => format.number(bound, 9));
  return (
    <div className={isFull ? "field full" : "field"}>
      <label htmlFor={id} id={`${id}-label`}>
        {words.title}
      </label>
      {widget ? widget(control) : <FieldControl {...control} names={words.options} />}
      {error !== undefined && (
        <div className="field-error" id={`${id}-error`} role="alert">
          {error}
        </div>
      )}
      {!CARDS.has(field.widget) && (
        <div className="field-help" id={`${id}-help`}>
          <WithCode text={words.help} />
          {range && <span className="num"> ({range})</span>}
        </div>
      )}
    </div>
  );
}

interface RangeWords {
  bounds: (low: string, high: string) => string;
  atLeast: (low: string) => string;
}

function rangeText(field: SpecField, words: RangeWords, show: (value: number) => string): string {
  if (field.kind !== "integer" && field.kind !== "number") return "";
  if (field.min === undefined) return "";
  // A bound nobody meets says nothing.
  if (field.max === undefined || field.max >= 100_000)
    return field.min > 0 ? words.atLeast(show(field.min)) : "";
  return words.bounds(show(field.min), show(field.max));
}
