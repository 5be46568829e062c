// The four steps of a new account, each with its state; gone once all are done.

import { CheckCircleFilled, RightCircleOutlined } from "../../widgets/icons";
import type { Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { LinkButton } from "../../widgets/LinkButton";

export function FirstSteps({ me }: { me: Me }) {
  const { text } = useWords();
  const words = text.home.steps;
  const done = me.onboarding;
  const steps = [
    { ...words.dataset, isDone: done.has_dataset || done.has_job, to: "/datasets" },
    { ...words.job, isDone: done.has_job, to: "/launch" },
    { ...words.adapter, isDone: done.has_adapter, to: "/jobs" },
    { ...words.chat, isDone: done.has_conversation, to: "/playground" },
  ];
  const next = steps.findIndex((step) => !step.isDone);
  if (next < 0) return null;
  return (
    <section className="panel flush" aria-labelledby="first-steps">
      <div className="panel-head">
        <h2 id="first-steps">{words.title}</h2>
      </div>
      <ol className="steps">
        {steps.map((step, index) => (
          <li key={step.title}>
            <span
              className={step.isDone ? "state good" : index === next ? "state live" : "state quiet"}
            >
              <span aria-hidden="true">
                {step.isDone ? <CheckCircleFilled /> : <RightCircleOutlined />}
              </span>
              <span className="small">
                {step.isDone ? words.done : index === next ? words.next : words.later}
              </span>
            </span>
            <h3>{step.title}</h3>
            <p className="small">{step.text}</p>
            {!step.isDone && (
              <LinkButton to={step.to} size="small" type={index === next ? "primary" : "default"}>
                {step.go}
              </LinkButton>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
