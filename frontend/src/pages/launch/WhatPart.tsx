// What is learnt: the model, the dataset, the name of the adapter.

import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import type { SpecValue } from "../../api/shapes";
import type { SpecField } from "../../stores/specSchema";
import { SpecForm, type FieldWidget } from "../../widgets/SpecForm";
import { CommandField } from "./CommandField";
import { CardChoice } from "./CardChoice";
import { DatasetPicker } from "./DatasetPicker";
import { MixtureEditor } from "./MixtureEditor";
import { RepoPicker } from "./RepoPicker";
import type { LaunchForm } from "./useLaunchForm";
import { scopeOf, useTrainingWords } from "./words";
import "./training.css";

interface Props {
  fields: readonly SpecField[];
  form: LaunchForm;
  errors: ReadonlyMap<string, string>;
  onChange: (spec: SpecValue) => void;
  /** What a new model is, where the schema knows of one. */
  scratch: SpecValue;
  /** Take another stage: what goes with it changes too. */
  onChoose: (change: SpecValue) => void;
}

export function WhatPart({ fields, form, errors, scratch, onChange, onChoose }: Props) {
  const { text } = useWords();
  const words = useTrainingWords();
  const quantize = useQuantizeWords();
  const { kind } = form.spec;
  const isScript = kind === "script";
  const own = kind === "quantize" ? quantize : text.launch;
  const stage = String(form.spec.stage ?? "sft");
  const widgets: Record<string, FieldWidget> = {
    stage: ({ field, id, value }) => (
      <>
        <CardChoice
          id={id}
          name="stage"
          value={value}
          options={field.options}
          words={words.stage}
          onChange={(next) => onChoose({ stage: next })}
        />
        {stage === "pretrain" && (
          // Below what was pressed, so that this stays where it is.
          <div className="field after-choice">
            <span className="field-label" id="field-start-label">
              {words.startLabel}
            </span>
            <CardChoice
              id="field-start"
              name="start"
              value={form.spec.from_scratch ? "scratch" : "base"}
              options={["base", "scratch"]}
              words={words.start}
              onChange={(start) => onChoose(start === "scratch" ? scratch : { from_scratch: null })}
            />
          </div>
        )}
      </>
    ),
    model: (props) => <RepoPicker kind="model" {...props} />,
    dataset: (props) => <DatasetPicker stage={stage} {...props} />,
    calibration: (props) => <RepoPicker kind="dataset" placeholder={quantize.shipped} {...props} />,
    mixture: ({ id, value, onChange: take }) => (
      <MixtureEditor stage={stage} id={id} value={value} onChange={take} errors={errors} />
    ),
    command: (props) => <CommandField {...props} />,
  };
  return (
    <section className="panel form-part">
      <h2>{isScript ? text.launch.script.what : own.what}</h2>
      <p>{isScript ? text.launch.script.whatText : own.whatText}</p>
      <SpecForm
        fields={fields.filter((field) => field.part === "what")}
        value={form.spec}
        onChange={onChange}
        errors={errors}
        widgets={widgets}
        scope={scopeOf(form.spec)}
      />
    </section>
  );
}
