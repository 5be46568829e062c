// One sentence where no machine can run, with the command that mends it.

import { Alert } from "antd";
import { useQuery } from "@tanstack/react-query";
import { machineQueries } from "../../api/machineQueries";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { CodeBlock } from "../../widgets/CodeBlock";
import { WithCode } from "../../widgets/WithCode";

const INSTALL = "sudo apt install docker.io && sudo systemctl start docker";

export function EngineBanner({ title }: { title?: string }) {
  const { text, language } = useWords();
  const options = useQuery(machineQueries.options());
  const engine = options.data?.engine;
  if (!engine || engine.is_available) return null;
  return (
    <Alert
      type="warning"
      showIcon
      style={{ marginBottom: 16 }}
      title={title ?? text.machines.noEngine}
      description={
        <>
          <p>
            <WithCode text={sayTold(language, engine.problem, engine.problem_told)} />
          </p>
          {engine.problem.includes("apt install") && (
            <>
              <p>{text.machines.noEngineHow}</p>
              <CodeBlock code={INSTALL} label={text.machines.noEngineHow} />
            </>
          )}
        </>
      }
    />
  );
}
