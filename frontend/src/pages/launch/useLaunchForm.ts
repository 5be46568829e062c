// The launch form's state: the spec, the flavor and the name, kept while the tab lives, and made from the address.

import { useCallback, useEffect, useMemo, useState } from "react";
import type { Job, SpecInfo, SpecValue } from "../../api/shapes";
import { defaultsOf, merge } from "../../stores/specSchema";
import { choose, defaultsFor, ownFields } from "../../stores/trainForm";

export interface LaunchForm {
  name: string;
  flavor: string;
  spec: SpecValue;
}

/** Where the form of a kind is kept while the tab lives. */
const keptAs = (kind: unknown) =>
  kind === "script" || kind === "quantize" ? `athanor.launch.${kind}` : "athanor.launch";

function recallForm(kind: unknown): Partial<LaunchForm> {
  try {
    return JSON.parse(sessionStorage.getItem(keptAs(kind)) ?? "{}") as Partial<LaunchForm>;
  } catch {
    return {};
  }
}

export function forgetForm(kind: unknown): void {
  sessionStorage.removeItem(keptAs(kind));
}

interface Start {
  info: SpecInfo;
  /** A job to launch again. */
  from: Job | null;
  model: string;
  dataset: string;
  /** Of a training; empty leaves the one that was kept. */
  stage: string;
}

function startForm({ info, from, model, dataset, stage }: Start): LaunchForm {
  if (from)
    return { name: "", flavor: from.flavor, spec: merge(defaultsFor(info, from.spec), from.spec) };
  const defaults = defaultsOf(info.schema);
  const kept = recallForm(defaults.kind);
  const isTraining = defaults.kind === "train";
  const picked =
    defaults.kind === "script"
      ? {}
      : { ...(model && { model }), ...(isTraining && dataset && { dataset }) };
  const spec = merge(merge(defaults, kept.spec ?? {}), picked);
  return {
    name: kept.name ?? "",
    flavor: kept.flavor ?? "",
    spec: stage && isTraining ? choose(info, spec, { stage }) : spec,
  };
}

export function useLaunchForm(start: Start) {
  const [form, setForm] = useState<LaunchForm>(() => startForm(start));
  useEffect(() => sessionStorage.setItem(keptAs(form.spec.kind), JSON.stringify(form)), [form]);
  const change = useCallback(
    (changes: Partial<LaunchForm>) => setForm((old) => ({ ...old, ...changes })),
    [],
  );
  const { info } = start;
  const { stage, method } = form.spec;
  const defaults = useMemo(() => defaultsFor(info, { stage, method }), [info, stage, method]);

  /** A preset sets the numbers and leaves what is learnt, from what, and its name alone. */
  const applyPreset = (preset: SpecValue) =>
    change({ spec: merge(merge(defaults, preset), ownFields(form.spec)) });
  return { form, change, defaults, applyPreset };
}
