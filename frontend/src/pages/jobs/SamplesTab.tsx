// What the model answered while it learnt, newest first.

import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { queries } from "../../api/queries";
import type { Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import type { RunStream } from "../../stores/runStream";
import { useStore } from "../../stores/useStore";
import { EmptyState } from "../../widgets/EmptyState";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { Loaded } from "../../widgets/Loaded";

export function SamplesTab({ run, stream }: { run: Run; stream: RunStream }) {
  const { text } = useWords();
  const words = text.jobs.samples;
  const { numSamples } = useStore(stream);
  const samples = useQuery(queries.samples(run.id));
  const { refetch } = samples;
  useEffect(() => {
    if (numSamples > 0) void refetch();
  }, [numSamples, refetch]);
  return (
    <Loaded query={samples}>
      {(list) =>
        list.length === 0 ? (
          <div className="panel">
            <EmptyState title={words.empty} text={words.emptyText} />
          </div>
        ) : (
          <div className="stack">
            {[...list].reverse().map((sample) => (
              <section key={`${sample.step} ${sample.prompt}`} className="panel">
                <h2 className="section-title num">{words.step(sample.step)}</h2>
                <div className="turn">
                  <div className="who">{words.prompt}</div>
                  <div className="said">{sample.prompt}</div>
                </div>
                <div className="turn assistant">
                  <div className="who">{words.answer}</div>
                  <LazyMarkdown text={sample.completion} />
                </div>
              </section>
            ))}
          </div>
        )
      }
    </Loaded>
  );
}
