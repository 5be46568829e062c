// Which models answer, and how they draw their words.

import { Input, InputNumber, Select, Slider } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useId, type ReactNode } from "react";
import { queries } from "../../api/queries";
import type { ChatSettings, PlaygroundModel } from "../../api/shapes";
import { useWords } from "../../i18n";

interface Props {
  settings: ChatSettings;
  onChange: (settings: ChatSettings) => void;
}

const MOST_MODELS = 4;

function Field({
  label,
  help,
  id,
  children,
}: {
  label: string;
  help?: string;
  id: string;
  children: ReactNode;
}) {
  return (
    <div className="field" style={{ marginBottom: 14 }}>
      <label htmlFor={id}>{label}</label>
      {children}
      {help && <div className="field-help">{help}</div>}
    </div>
  );
}

export function SettingsPanel({ settings, onChange }: Props) {
  const { text } = useWords();
  const words = text.playground;
  const id = useId();
  const { data: models = [], isFetched } = useQuery(queries.playgroundModels());
  const set = (changes: Partial<ChatSettings>) => onChange({ ...settings, ...changes });
  const toOption = (model: PlaygroundModel) => ({
    value: model.id,
    label: model.id,
    note: words.deployment[model.deployment_status],
  });
  const known = new Set(models.map((model) => model.id));
  const others = settings.models.filter((model) => !known.has(model));
  const options = [
    { label: words.bases, options: models.filter((model) => !model.is_adapter).map(toOption) },
    { label: words.adapters, options: models.filter((model) => model.is_adapter).map(toOption) },
    { label: "", options: others.map((value) => ({ value, label: value, note: "" })) },
  ].filter((group) => group.options.length > 0);
  return (
    <>
      <Field id={`${id}models`} label={words.models} help={words.modelsHelp}>
        <Select
          id={`${id}models`}
          mode="multiple"
          maxCount={MOST_MODELS}
          style={{ width: "100%" }}
          placeholder={words.modelsPlaceholder}
          value={settings.models}
          onChange={(value) => set({ models: value })}
          options={options}
          notFoundContent={isFetched ? words.noModels : undefined}
          popupMatchSelectWidth={false}
          optionRender={(option) => (
            <span className="row between" style={{ flexWrap: "nowrap" }}>
              <span>{option.label}</span>
              <span className="muted small">{(option.data as { note?: string }).note}</span>
            </span>
          )}
        />
      </Field>
      <Field id={`${id}system`} label={words.system}>
        <Input.TextArea
          id={`${id}system`}
          autoSize={{ minRows: 2, maxRows: 8 }}
          placeholder={words.systemPlaceholder}
          value={settings.system}
          onChange={(event) => set({ system: event.target.value })}
        />
      </Field>
      <Field id={`${id}temperature`} label={words.temperature} help={words.temperatureHelp}>
        <NumberWithSlider
          id={`${id}temperature`}
          label={words.temperature}
          max={2}
          value={settings.temperature}
          onChange={(temperature) => set({ temperature })}
        />
      </Field>
      <Field id={`${id}top-p`} label={words.topP} help={words.topPHelp}>
        <NumberWithSlider
          id={`${id}top-p`}
          label={words.topP}
          max={1}
          min={0.05}
          value={settings.top_p}
          onChange={(top_p) => set({ top_p })}
        />
      </Field>
      <Field id={`${id}max`} label={words.maxTokens}>
        <InputNumber<number>
          id={`${id}max`}
          style={{ width: "100%" }}
          min={1}
          max={8192}
          precision={0}
          suffix={words.tokens}
          value={settings.max_tokens}
          onChange={(value) => set({ max_tokens: value ?? 256 })}
        />
      </Field>
      <Field id={`${id}seed`} label={words.seed} help={words.seedHelp}>
        <InputNumber<number>
          id={`${id}seed`}
          style={{ width: "100%" }}
          min={0}
          precision={0}
          placeholder={words.seedNone}
          value={settings.seed}
          onChange={(seed) => set({ seed })}
        />
      </Field>
    </>
  );
}

interface NumberProps {
  id: string;
  label: string;
  min?: number;
  max: number;
  value: number;
  onChange: (value: number) => void;
}

function NumberWithSlider({ id, label, min = 0, max, value, onChange }: NumberProps) {
  return (
    <div className="row" style={{ flexWrap: "nowrap" }}>
      <Slider
        style={{ flex: 1 }}
        min={min}
        max={max}
        step={0.05}
        value={value}
        onChange={onChange}
        ariaLabelForHandle={label}
      />
      <InputNumber<number>
        id={id}
        style={{ width: 76 }}
        min={min}
        max={max}
        step={0.05}
        value={value}
        onChange={(next) => onChange(next ?? min)}
      />
    </div>
  );
}
