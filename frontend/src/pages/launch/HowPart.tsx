// How it is learnt: a method to start with, then every number.

import { useWords } from "../../i18n";
import type { SpecValue } from "../../api/shapes";
import { holdsPreset, merge, type SpecField } from "../../stores/specSchema";
import { SpecForm, type FieldWidget } from "../../widgets/SpecForm";
import { ImageField } from "./ImageField";
import type { LaunchForm } from "./useLaunchForm";

const WIDGETS: Record<string, FieldWidget> = { image: (props) => <ImageField {...props} /> };

interface Props {
  fields: readonly SpecField[];
  form: LaunchForm;
  errors: ReadonlyMap<string, string>;
  defaults: SpecValue;
  presets: Record<string, SpecValue>;
  onChange: (spec: SpecValue) => void;
  onPreset: (preset: SpecValue) => void;
}

export function HowPart({ fields, form, errors, defaults, presets, onChange, onPreset }: Props) {
  const { text } = useWords();
  const words = text.launch;
  const isScript = form.spec.kind === "script";
  // What is learnt, and the samples to watch, belong to no method.
  const kept = ["model", "dataset", "output", "sample_prompts"];
  const own = Object.fromEntries(kept.map((key) => [key, form.spec[key]]));
  const held = Object.entries(presets).find(([, preset]) =>
    holdsPreset(merge(form.spec, {}), merge(defaults, own), preset),
  )?.[0];
  return (
    <section className="panel form-part">
      <h2>{words.how}</h2>
      <p>{isScript ? words.script.howText : words.howText}</p>
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
      <SpecForm
        fields={fields.filter((field) => field.part === "how")}
        value={form.spec}
        onChange={onChange}
        errors={errors}
        widgets={WIDGETS}
        scope={isScript ? "script." : ""}
      />
    </section>
  );
}
