// The form behind a model's serving settings: the flavor, and the fields of the spec that this person may set.

import { Alert, App, Button, InputNumber, Space } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { ApiError, post, put, remove, type ErrorBody } from "../../api/client";
import type { Deployment, ServingSettings } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { sayNames } from "../../i18n/told";
import { changedOf, readServeFields, startServeForm } from "../../stores/serveForm";
import { RelativeTime } from "../../widgets/RelativeTime";
import { fieldId, SpecForm, type FieldWidget } from "../../widgets/SpecForm";
import { useAction } from "../useAction";
import { FlavorChoice } from "./FlavorChoice";
import { useServingWords } from "./words";
import "./serving.css";

const GIB = 2 ** 30;
const REFUSED = "settings-refused";
const nameOf = ({ field }: Pick<ErrorBody, "field">) => field?.replace(/^spec\.?/, "") ?? "";

/** Bring it out from under the foot, and put the keyboard there. */
function lookAt(id: string): void {
  const wanted = document.getElementById(id);
  wanted?.scrollIntoView({ block: "center" });
  wanted?.focus({ preventScroll: true });
}

interface Props {
  settings: ServingSettings;
  onDone: () => void;
}

export function SettingsForm({ settings, onDone }: Props) {
  const { schema, flavors, model, running } = settings;
  const { text, language } = useWords();
  const words = useServingWords().settings;
  const { message } = App.useApp();
  const cache = useQueryClient();
  const { run, isBusy } = useAction();
  const [value, setValue] = useState(() => startServeForm(settings));
  const [flavor, setFlavor] = useState(settings.flavor);
  const [refused, setRefused] = useState<readonly ErrorBody[]>([]);
  const fields = useMemo(() => readServeFields(schema), [schema]);
  const isOperator = flavors.length > 0;
  const address = `/api/serving/settings/${model}/`;

  const say = (problem: ErrorBody): string => {
    if (problem.field === "spec.url" && problem.code.startsWith("string_")) return words.badUrl;
    const params = sayNames(language, problem.params);
    if (language === "zh" && problem.code === "value_error") return String(params.why);
    return sayProblem(text, { ...problem, params }).replace(/^(spec(\.\w+)*|flavor): /, "");
  };
  const errors = new Map(refused.map((problem) => [nameOf(problem), say(problem)]));
  const known = new Set(["flavor", ...fields.map(({ name }) => name)]);
  const others = refused.filter((problem) => !known.has(nameOf(problem)));

  /** Do it, and keep the form open with its marks where the studio refuses what is in it. */
  const act = (work: () => Promise<unknown>, done: string) =>
    run(async () => {
      setRefused([]);
      try {
        await work();
      } catch (error) {
        if (!(error instanceof ApiError) || !error.body.field) throw error;
        setRefused(error.problems);
        const first = error.problems.map(nameOf).find((name) => known.has(name));
        setTimeout(() => lookAt(first ? fieldId(first) : REFUSED));
        return;
      } finally {
        await cache.invalidateQueries({ queryKey: ["deployments"] });
        void cache.invalidateQueries({ queryKey: ["serving-settings"], exact: true });
      }
      void message.success(done);
      onDone();
    });
  const save = () => put(address, { flavor, spec: changedOf(schema, value) });
  const restart = async () => {
    await save();
    for (const id of running) await post<Deployment>(`/api/deployments/${id}/restart/`);
  };
  const widgets: Record<string, FieldWidget> = {
    gib: ({ field, id, value: bytes, onChange, hasError }) => (
      <InputNumber<number>
        id={id}
        style={{ width: "100%" }}
        status={hasError ? "error" : undefined}
        aria-describedby={`${id}-help`}
        min={0}
        suffix={words.gib}
        placeholder={field.isNullable ? text.launch.notSet : undefined}
        value={typeof bytes === "number" ? bytes / GIB : null}
        onChange={(gib) =>
          onChange(gib === null ? (field.isNullable ? null : undefined) : Math.round(gib * GIB))
        }
      />
    ),
  };
  return (
    <div className="settings-form">
      <p className="muted">{words.lead}</p>
      {running.length > 0 && (
        <Alert type="info" showIcon title={words.running} style={{ marginBottom: 16 }} />
      )}
      {others.length > 0 && (
        <div id={REFUSED} tabIndex={-1}>
          <Alert
            type="error"
            showIcon
            title={words.refused}
            description={others.map(say).join(" ")}
            style={{ marginBottom: 16 }}
          />
        </div>
      )}
      {isOperator && (
        <FlavorChoice
          flavors={flavors}
          value={flavor}
          onChange={setFlavor}
          error={errors.get("flavor")}
        />
      )}
      <SpecForm
        fields={fields}
        value={value}
        onChange={setValue}
        errors={errors}
        widgets={widgets}
        scope="serve."
      />
      <div className="row between settings-foot">
        <span className="muted small">
          {settings.changed_at && (
            <>
              {words.changed} <RelativeTime iso={settings.changed_at} /> · {settings.changed_by}
            </>
          )}
        </span>
        <Space wrap>
          {settings.changed_at && (
            <Button
              disabled={isBusy}
              onClick={() => void act(() => remove(address), words.asUsualDone)}
            >
              {words.asUsual}
            </Button>
          )}
          {isOperator && running.length > 0 && (
            <Button loading={isBusy} onClick={() => void act(restart, words.restarting)}>
              {words.saveAndRestart}
            </Button>
          )}
          <Button type="primary" loading={isBusy} onClick={() => void act(save, words.saved)}>
            {words.save}
          </Button>
        </Space>
      </div>
    </div>
  );
}
