// A model's facts in numbers, and how to load it from Python.

import { Link } from "react-router";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { Facts } from "../../widgets/Facts";
import { RelativeTime } from "../../widgets/RelativeTime";

function pythonFor(repo: RepoDetail, origin: string): string {
  const head = `import os\nos.environ["HF_ENDPOINT"] = "${origin}"\n`;
  if (repo.role === "adapter") {
    return `${head}from peft import AutoPeftModelForCausalLM\nmodel = AutoPeftModelForCausalLM.from_pretrained("${repo.id}")`;
  }
  return `${head}from transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained("${repo.id}")`;
}

export function ModelFactsPanel({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.facts;
  const { facts } = repo;
  return (
    <div className="stack">
      <section className="panel">
        <h2 className="section-title">{words.title}</h2>
        <Facts
          facts={[
            [
              words.base,
              repo.base_model && <Link to={`/models/${repo.base_model}`}>{repo.base_model}</Link>,
            ],
            [words.params, facts && format.compact(facts.num_params)],
            [words.layers, facts && format.number(facts.num_layers)],
            [words.hidden, facts && format.number(facts.hidden_size)],
            [words.vocab, facts && format.number(facts.vocab_size)],
            [words.context, facts && format.number(facts.max_context)],
            ...Object.entries(facts?.memory_bytes ?? {}).map(
              ([precision, bytes]) => [words.memory(precision), format.bytes(bytes)] as const,
            ),
            [words.size, format.bytes(repo.size_bytes)],
            [words.license, repo.license],
            [words.owner, repo.owner],
            [words.downloads, format.number(repo.downloads)],
            [words.updated, <RelativeTime key="u" iso={repo.updated_at} />],
            [
              words.revision,
              <span key="r" className="mono">
                {repo.revision.slice(0, 10)}
              </span>,
            ],
          ]}
        />
      </section>
      <section className="panel">
        <h2 className="section-title">{text.hub.use}</h2>
        <CodeBlock code={pythonFor(repo, location.origin)} label={text.hub.use} />
      </section>
    </div>
  );
}
