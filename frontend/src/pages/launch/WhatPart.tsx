// What is learnt: the model, the dataset, the name of the adapter.

import { useWords } from "../../i18n";
import type { SpecValue } from "../../api/shapes";
import type { SpecField } from "../../stores/specSchema";
import { SpecForm, type FieldWidget } from "../../widgets/SpecForm";
import { CommandField } from "./CommandField";
import { RepoPicker } from "./RepoPicker";
import type { LaunchForm } from "./useLaunchForm";

const WIDGETS: Record<string, FieldWidget> = {
  model: (props) => <RepoPicker kind="model" {...props} />,
  dataset: (props) => <RepoPicker kind="dataset" {...props} />,
  command: (props) => <CommandField {...props} />,
};

interface Props {
  fields: readonly SpecField[];
  form: LaunchForm;
  errors: ReadonlyMap<string, string>;
  onChange: (spec: SpecValue) => void;
}

export function WhatPart({ fields, form, errors, onChange }: Props) {
  const { text } = useWords();
  const isScript = form.spec.kind === "script";
  return (
    <section className="panel form-part">
      <h2>{text.launch.what}</h2>
      <p>{isScript ? text.launch.script.whatText : text.launch.whatText}</p>
      <SpecForm
        fields={fields.filter((field) => field.part === "what")}
        value={form.spec}
        onChange={onChange}
        errors={errors}
        widgets={WIDGETS}
        scope={isScript ? "script." : ""}
      />
    </section>
  );
}
