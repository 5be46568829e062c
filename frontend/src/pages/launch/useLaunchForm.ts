// The launch form's state: the spec, the flavor and the name, kept while the tab lives, and made from the address.

import { useCallback, useEffect, useMemo, useState } from "react";
import type { Job, SpecInfo, SpecValue } from "../../api/shapes";
import { defaultsOf, merge } from "../../stores/specSchema";

export interface LaunchForm {
  name: string;
  flavor: string;
  spec: SpecValue;
}

/** Where the form of a kind is kept while the tab lives. */
const keptAs = (kind: unknown) => (kind === "script" ? "athanor.launch.script" : "athanor.launch");

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
}

function startForm({ info, from, model, dataset }: Start): LaunchForm {
  const defaults = defaultsOf(info.schema);
  if (from) return { name: "", flavor: from.flavor, spec: merge(defaults, from.spec) };
  const kept = recallForm(defaults.kind);
  const isScript = defaults.kind === "script";
  const picked = isScript ? {} : { ...(model && { model }), ...(dataset && { dataset }) };
  return {
    name: kept.name ?? "",
    flavor: kept.flavor ?? "",
    spec: merge(merge(defaults, kept.spec ?? {}), picked),
  };
}

export function useLaunchForm(start: Start) {
  const [form, setForm] = useState<LaunchForm>(() => startForm(start));
  useEffect(() => sessionStorage.setItem(keptAs(form.spec.kind), JSON.stringify(form)), [form]);
  const change = useCallback(
    (changes: Partial<LaunchForm>) => setForm((old) => ({ ...old, ...changes })),
    [],
  );
  const defaults = useMemo(() => defaultsOf(start.info.schema), [start.info]);

  /** A preset sets the method and leaves what is learnt, from what, and its name alone. */
  const applyPreset = (preset: SpecValue) => {
    const kept = Object.fromEntries(
      ["model", "dataset", "output", "sample_prompts"]
        .filter((key) => form.spec[key] !== undefined)
        .map((key) => [key, form.spec[key]]),
    );
    change({ spec: merge(merge(defaults, preset), kept) });
  };
  return { form, change, defaults, applyPreset };
}
