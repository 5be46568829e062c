// The launch form itself, its two faces (form and YAML), and the act of launching.

import { FireOutlined } from "../../widgets/icons";
import { App, Button, Input, Segmented } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useCallback, useMemo, useRef, useState } from "react";
import { useNavigate } from "react-router";
import { ApiError, post, type ErrorBody } from "../../api/client";
import { queries } from "../../api/queries";
import type { Job, Refusal, RepoDetail, SpecInfo, SpecValue } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayError } from "../../i18n/said";
import { LaunchKey } from "../../stores/launchKey";
import { merge } from "../../stores/specSchema";
import { choose, scratchOf, usualOf } from "../../stores/trainForm";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { fieldId } from "../../widgets/SpecForm";
import { useAction } from "../useAction";
import { Advisor } from "./Advisor";
import { CommandPart } from "./CommandPart";
import { FlavorCards } from "./FlavorCards";
import { HowPart } from "./HowPart";
import { MaskPanel } from "./MaskPanel";
import { WhatPart } from "./WhatPart";
import { useEstimate } from "./useEstimate";
import { useFields } from "./useFields";
import { useKeptPress } from "./useKeptPress";
import { forgetForm, useLaunchForm } from "./useLaunchForm";
import { useSaying } from "./words";

const YamlPart = lazy(async () => ({ default: (await import("./YamlPart")).YamlPart }));

interface Props {
  info: SpecInfo;
  from: Job | null;
  model: string;
  dataset: string;
  stage: string;
}

const nameOf = (problem: Pick<ErrorBody, "field">) => problem.field?.replace(/^spec\./, "") ?? "";

function focusField(name: string): void {
  const wanted = document.getElementById(fieldId(name));
  wanted?.scrollIntoView({ block: "center" });
  wanted?.focus({ preventScroll: true });
}

export function LaunchFormView(props: Props) {
  const { text, format } = useWords();
  const words = text.launch;
  const { message } = App.useApp();
  const cache = useQueryClient();
  const navigate = useNavigate();
  const { run, isBusy } = useAction();
  const { form, change, defaults, applyPreset } = useLaunchForm(props);
  const { estimate, isCurrent } = useEstimate(form);
  const { say } = useSaying();
  const [face, setFace] = useState<"form" | "yaml">("form");
  const [refused, setRefused] = useState<readonly ErrorBody[]>([]);
  const launchKey = useRef(new LaunchKey());
  const fields = useFields(props.info, form);
  const setFlavor = useCallback((flavor: string) => change({ flavor }), [change]);

  const errors = useMemo(() => {
    const problems = [...refused, ...(estimate?.refusals ?? [])].filter((problem) => problem.field);
    return new Map(problems.map((problem) => [nameOf(problem), say(problem)]));
  }, [refused, estimate, say]);

  const edit = (changes: Parameters<typeof change>[0]) => {
    setRefused([]);
    change(changes);
  };
  const take = (changed: SpecValue) => edit({ spec: choose(props.info, form.spec, changed) });
  const mend = ({ mend: way }: Refusal) => {
    if (way?.code === "keep_good_rows") {
      const id = String(way.params.dataset).split("@")[0] ?? "";
      void run(async () => {
        await post<RepoDetail>(`/api/hub/repos/dataset/${id}/keep-good-rows/`);
        await cache.invalidateQueries({ queryKey: ["estimate"] });
      }, text.hub.report.kept);
      return;
    }
    if (way?.set.flavor) edit({ flavor: way.set.flavor });
    if (way?.set.spec) edit({ spec: merge(form.spec, way.set.spec) });
  };
  const launch = async () => {
    const { name, spec, flavor } = form;
    const body = { ...(name.trim() && { name: name.trim() }), spec, flavor };
    try {
      const job = await post<Job>("/api/jobs/", body, {
        "Idempotency-Key": launchKey.current.for(body),
      });
      cache.setQueryData(queries.job(job.id).queryKey, job);
      void cache.invalidateQueries({ queryKey: ["jobs"] });
      void cache.invalidateQueries({ queryKey: ["points"] });
      forgetForm(spec.kind);
      await navigate(`/jobs/${job.id}`);
    } catch (error) {
      const problems = error instanceof ApiError ? error.problems : [];
      setRefused(problems);
      const first = problems.find((problem) => problem.field);
      if (first) setTimeout(() => focusField(nameOf(first)));
      void message.error(sayError(text, error));
    }
  };
  const cost = estimate?.cost_mpoints;
  const shownCost = useRef(0);
  const { isKept, press } = useKeptPress(isCurrent, () => {
    const isDearer = (cost ?? 0) > shownCost.current;
    if (estimate?.ok && !isDearer) void run(launch);
  });
  const isScript = form.spec.kind === "script";
  return (
    <div className="two launch">
      <div>
        <div className="row" style={{ marginBottom: 14 }}>
          <Segmented
            value={face}
            onChange={setFace}
            aria-label={`${words.asForm} / ${words.asYaml}`}
            options={[
              { value: "form", label: words.asForm },
              { value: "yaml", label: words.asYaml },
            ]}
          />
        </div>
        {face === "form" ? (
          <>
            <WhatPart
              fields={fields}
              form={form}
              errors={errors}
              onChange={(spec) => edit({ spec })}
              onChoose={take}
              scratch={scratchOf(props.info)}
            />
            {!isScript && <MaskPanel form={form} />}
            <HowPart
              fields={fields}
              form={form}
              errors={errors}
              defaults={defaults}
              presets={usualOf(props.info, form.spec).presets}
              onChange={(spec) => edit({ spec })}
              onPreset={(preset) => {
                setRefused([]);
                applyPreset(preset);
              }}
              onChoose={take}
            />
          </>
        ) : (
          <section className="panel form-part">
            <Suspense fallback={<PageSkeleton />}>
              <YamlPart spec={form.spec} onChange={(spec) => edit({ spec })} />
            </Suspense>
          </section>
        )}
        <section className="panel form-part">
          <h2>{words.where}</h2>
          <p>{words.whereText}</p>
          <FlavorCards value={form.flavor} onChange={setFlavor} error={errors.get("flavor")} />
        </section>
        <section className="panel form-part">
          <div className="field">
            <label htmlFor="job-name">
              {words.jobName} <span className="muted">({text.optional})</span>
            </label>
            <Input
              id="job-name"
              maxLength={120}
              value={form.name}
              onChange={(event) => edit({ name: event.target.value })}
              aria-describedby="job-name-help"
            />
            <div className="field-help" id="job-name-help">
              {isScript ? words.script.jobNameHelp : words.jobNameHelp}
            </div>
          </div>
        </section>
        <CommandPart form={form} />
      </div>
      <aside className="panel sticky-side" aria-label={words.advisor.title}>
        <h2 className="section-title">{words.advisor.title}</h2>
        <Advisor estimate={estimate} onMend={mend} isScript={isScript} />
        <Button
          type="primary"
          size="large"
          block
          icon={<FireOutlined />}
          style={{ marginTop: 18 }}
          loading={isBusy || isKept}
          disabled={!estimate?.ok}
          onClick={() => {
            shownCost.current = cost ?? 0;
            press();
          }}
        >
          {cost != null && estimate?.ok && !isScript
            ? words.submitFor(format.points(cost))
            : words.submit}
        </Button>
      </aside>
    </div>
  );
}
