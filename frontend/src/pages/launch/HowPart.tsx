// How it is learnt: a method to start with, then every number.

import { useWords } from "../../i18n";
import type { SpecValue } from "../../api/shapes";
import { holdsPreset, merge, type SpecField } from "../../stores/specSchema";
import { SpecForm, type FieldWidget } from "../../widgets/SpecForm";
import { ownFields } from "../../stores/trainForm";
import { CardChoice } from "./CardChoice";
import { ImageField } from "./ImageField";
import type { LaunchForm } from "./useLaunchForm";
import { useTrainingWords } from "./words";

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

export function HowPart(props: Props) {
  const { fields, form, errors, defaults, presets, onChange, onPreset, onChoose } = props;
  const training = useTrainingWords();
  const { text } = useWords();
  const words = text.launch;
  const isScript = form.spec.kind === "script";
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
        options={field.options}
        words={training.method}
        onChange={(next) => onChoose({ method: next })}
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
      scope={isScript ? "script." : ""}
    />
  );
  return (
    <section className="panel form-part">
      <h2>{isScript ? words.script.how : words.how}</h2>
      <p>{isScript ? words.script.howText : words.howText}</p>
      {!isScript && (
        <div style={{ marginBottom: 16 }}>
          {draw(how.filter((field) => field.widget === "method"))}
        </div>
      )}
      {Object.keys(presets).length > 0 && (
        <fieldset className="choices" style={{ marginBottom: 20 }}>
          <legend className="visually-hidden">{words.how}</legend>
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
      {draw(how.filter((field) => field.widget !== "method"))}
    </section>
  );
}
