// How it is learnt: a method to start with, then every number.

import { InputNumber, Segmented } from "antd";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import type { SpecValue } from "../../api/shapes";
import { holdsPreset, merge, type SpecField } from "../../stores/specSchema";
import { SpecForm, type FieldWidget } from "../../widgets/SpecForm";
import { methodsOf, ownFields } from "../../stores/trainForm";
import { CardChoice } from "./CardChoice";
import { ImageField } from "./ImageField";
import type { LaunchForm } from "./useLaunchForm";
import { scopeOf, useTrainingWords } from "./words";

interface Props {
  fields: readonly SpecField[];
  form: LaunchForm;
  errors: ReadonlyMap<string, string>;
  defaults: SpecValue;
  presets: Record<string, SpecValue>;
  onChange: (spec: SpecValue) => void;
  onPreset: (preset: SpecValue) => void;
  /** Take another method: what goes with it changes too. */
  onChoose: (change: SpecValue) => void;
}

const isMethod = ({ widget }: SpecField) => widget === "method" || widget === "quant_method";

export function HowPart(props: Props) {
  const { fields, form, errors, defaults, presets, onChange, onPreset, onChoose } = props;
  const training = useTrainingWords();
  const { text } = useWords();
  const words = text.launch;
  const quantize = useQuantizeWords();
  const { kind } = form.spec;
  const isScript = kind === "script";
  const headed = kind === "quantize" ? quantize : words;
  // What is learnt, and the samples to watch, belong to no preset.
  const own = merge(defaults, ownFields(form.spec));
  const held = Object.entries(presets).find(([, preset]) =>
    holdsPreset(form.spec, own, preset),
  )?.[0];
  const how = fields.filter((field) => field.part === "how");
  const widgets: Record<string, FieldWidget> = {
    image: (field) => <ImageField {...field} />,
    method: ({ field, id, value }) => (
      <CardChoice
        id={id}
        name="method"
        value={value}
        options={methodsOf(field.options, form.spec)}
        words={training.method}
        onChange={(next) => onChoose({ method: next })}
      />
    ),
    quant_method: ({ field, id, value }) => (
      <CardChoice
        id={id}
        name="method"
        value={value}
        options={field.options}
        words={quantize.method}
        onChange={(next) => onChoose({ method: next })}
      />
    ),
    group_size: ({ field, id, value, onChange: take }) => (
      <Segmented
        id={id}
        block
        aria-labelledby={`${id}-label`}
        value={typeof value === "number" ? String(value) : "auto"}
        options={[
          { value: "auto", label: quantize.auto },
          ...field.options.map((option) => ({ value: option, label: option })),
        ]}
        onChange={(next) => take(next === "auto" ? null : Number(next))}
      />
    ),
    searched: ({ id, value, onChange: take, hasError }) => (
      <InputNumber<number>
        id={id}
        style={{ width: "100%" }}
        status={hasError ? "error" : undefined}
        aria-describedby={`${id}-help`}
        step={0.1}
        value={typeof value === "number" ? value : null}
        placeholder={quantize.searched}
        onChange={(next) => take(next)}
      />
    ),
  };
  const draw = (list: readonly SpecField[]) => (
    <SpecForm
      fields={list}
      value={form.spec}
      onChange={onChange}
      errors={errors}
      widgets={widgets}
      scope={scopeOf(form.spec)}
    />
  );
  return (
    <section className="panel form-part">
      <h2>{isScript ? words.script.how : headed.how}</h2>
      <p>{isScript ? words.script.howText : headed.howText}</p>
      {!isScript && <div style={{ marginBottom: 16 }}>{draw(how.filter(isMethod))}</div>}
      {Object.keys(presets).length > 0 && (
        <fieldset className="choices" style={{ marginBottom: 20 }}>
          <legend className="visually-hidden">{headed.how}</legend>
          {Object.entries(presets).map(([name, preset]) => (
            <label key={name} className="choice">
              <input
                type="radio"
                name="preset"
                checked={name === held}
                onChange={() => onPreset(preset)}
              />
              <b>{words.preset[name] ?? name}</b>
              <span>{words.presetText[name]}</span>
            </label>
          ))}
        </fieldset>
      )}
      {draw(how.filter((field) => !isMethod(field)))}
    </section>
  );
}
