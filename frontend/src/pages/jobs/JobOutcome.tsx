// How a job ended, in words, and what to do with what came out.

import { Alert, Space } from "antd";
import type { Job } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import { sayTold } from "../../i18n/told";
import { LinkButton } from "../../widgets/LinkButton";
import { useMetricWords } from "./metricWords";

export function JobOutcome({ job }: { job: Job }) {
  const { text, language } = useWords();
  const words = text.jobs.result;
  const { result, rewardText } = useMetricWords();
  const quantize = useQuantizeWords();
  if (!job.ended_at) return null;
  const isScript = job.kind === "script";
  const isReward = job.spec.stage === "reward";
  const made = isReward ? "reward" : job.spec.method === "full" ? "model" : "adapter";
  const title = job.kind === "quantize" ? quantize.done : result[made];
  if (job.status === "succeeded" && job.output_repo) {
    return (
      <Alert
        type="success"
        showIcon
        title={isScript ? words.scriptTitle : title}
        description={
          <>
            <p className="break" style={{ margin: "0 0 10px" }}>
              {words.text(job.output_repo)} {isReward && rewardText}
            </p>
            <Space wrap>
              {!isScript && !isReward && (
                <LinkButton
                  type="primary"
                  to={`/playground?model=${encodeURIComponent(job.output_repo)}`}
                >
                  {words.chat}
                </LinkButton>
              )}
              <LinkButton to={`/models/${job.output_repo}`}>
                {isScript ? words.openRepo : words.open}
              </LinkButton>
            </Space>
          </>
        }
      />
    );
  }
  if (job.status === "succeeded") return null;
  const known = text.reason[job.reason];
  // The engine's own sentence names the numbers; ours comes first where it can be in the reader's language.
  const message = sayTold(language, job.message, job.told);
  const isSame = !known || message.startsWith(known);
  return (
    <Alert
      type={job.status === "failed" ? "error" : "info"}
      showIcon
      title={isSame ? message || text.status[job.status] : known}
      description={
        <span className="break">
          {!isSame && message}{" "}
          <span className="muted small mono">{text.error.code(job.reason)}</span>
        </span>
      }
    />
  );
}
