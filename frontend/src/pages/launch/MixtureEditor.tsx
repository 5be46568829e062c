// Further datasets beside the first: each with its weight, and where need be its format and its split.

import { Button, Input, InputNumber, Select } from "antd";
import { DeleteOutlined, PlusOutlined } from "../../widgets/icons";
import { DatasetPicker } from "./DatasetPicker";
import { useTrainingWords } from "./words";

interface Source {
  repo?: string;
  weight?: number;
  format?: string;
  split?: string;
  files?: string[];
}

interface Props {
  stage: string;
  id: string;
  value: unknown;
  onChange: (value: unknown) => void;
  /** By field name, such as `mixture.0.repo`. */
  errors: ReadonlyMap<string, string>;
}

export function MixtureEditor({ stage, id, value, onChange, errors }: Props) {
  const words = useTrainingWords().mixture;
  const sources = Array.isArray(value) ? (value as Source[]) : [];
  const change = (index: number, changes: Source) =>
    onChange(sources.map((source, at) => (at === index ? { ...source, ...changes } : source)));
  return (
    <div className="mixture" id={id} tabIndex={-1}>
      {sources.map((source, index) => (
        // The rows have no other name than their place, and typing must not lose the focus.
        <SourceRow
          key={index}
          stage={stage}
          number={index + 1}
          source={source}
          error={firstError(errors, index)}
          onChange={(changes) => change(index, changes)}
          onRemove={() => onChange(sources.filter((_, at) => at !== index))}
        />
      ))}
      <Button
        size="small"
        icon={<PlusOutlined />}
        onClick={() => onChange([...sources, { weight: 1, format: "auto", split: "" }])}
      >
        {words.add}
      </Button>
    </div>
  );
}

const firstError = (errors: ReadonlyMap<string, string>, index: number) =>
  [...errors].find(([name]) => name.startsWith(`mixture.${index}.`))?.[1];

interface RowProps {
  stage: string;
  number: number;
  source: Source;
  error: string | undefined;
  onChange: (changes: Source) => void;
  onRemove: () => void;
}

function SourceRow({ stage, number, source, error, onChange, onRemove }: RowProps) {
  const { mixture: words, format: formats } = useTrainingWords();
  return (
    <div className="mixture-row">
      <div className="mixture-repo">
        <DatasetPicker
          stage={stage}
          id={`field-mixture-${number - 1}-repo`}
          label={words.dataset(number)}
          value={source.repo}
          onChange={(repo) => onChange({ repo: String(repo) })}
          hasError={error !== undefined}
        />
        <Button
          type="text"
          icon={<DeleteOutlined />}
          aria-label={words.remove(number)}
          onClick={onRemove}
        />
      </div>
      <InputNumber<number>
        aria-label={words.weightOf(number)}
        prefix={<span className="muted small">{words.weight}</span>}
        style={{ width: "100%" }}
        min={0}
        step={0.5}
        value={source.weight ?? 1}
        onChange={(weight) => onChange({ weight: weight ?? 1 })}
      />
      <Select
        aria-label={words.formatOf(number)}
        value={source.format ?? "auto"}
        onChange={(format) => onChange({ format })}
        popupMatchSelectWidth={false}
        options={["auto", ...Object.keys(formats)].map((name) => ({
          value: name,
          label: name === "auto" ? `${words.format}: ${words.auto}` : (formats[name] ?? name),
        }))}
      />
      <Input
        aria-label={words.splitOf(number)}
        prefix={<span className="muted small">{words.split}</span>}
        placeholder={words.splitUsual}
        maxLength={64}
        value={source.split ?? ""}
        onChange={(event) => onChange({ split: event.target.value })}
      />
      {error !== undefined && (
        <div className="field-error" role="alert">
          {error}
        </div>
      )}
    </div>
  );
}
