// How to reach a machine over SSH: the command, a block for the client's configuration, the fingerprint.

import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { machineQueries } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { Loaded } from "../../widgets/Loaded";

export function SshPanel({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines.ssh;
  const options = useQuery(machineQueries.options());
  return (
    <section className="panel">
      <h2>{words.title}</h2>
      <p className="muted">{words.text}</p>
      <p>
        <Link to="/profile#ssh-keys">{words.keys}</Link>
      </p>
      <Loaded query={options}>
        {({ ssh }) => (
          <>
            <h3>{words.command}</h3>
            <CodeBlock code={machine.ssh_command} label={words.command} />
            <h3>{words.config}</h3>
            <CodeBlock
              label={words.config}
              code={[
                `Host ${machine.name}.athanor`,
                `  HostName ${ssh.host}`,
                `  Port ${ssh.port}`,
                `  User ${machine.name}`,
                "  ServerAliveInterval 30",
              ].join("\n")}
            />
            <h3>{words.fingerprint}</h3>
            <p className="mono break">{ssh.fingerprint}</p>
          </>
        )}
      </Loaded>
    </section>
  );
}
