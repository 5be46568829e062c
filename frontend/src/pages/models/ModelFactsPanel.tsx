// A model's facts in numbers, and the memory it takes.

import { Link } from "react-router";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Facts } from "../../widgets/Facts";
import { RelativeTime } from "../../widgets/RelativeTime";
import { Licence } from "../hub/Licence";
import { MemoryTable } from "./MemoryTable";

export function ModelFactsPanel({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.facts;
  const { facts, weights } = repo;
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
            [words.params, weights && format.compact(weights.num_params)],
            [
              text.repo.facts.format,
              weights && [weights.format, ...Object.keys(weights.dtypes).slice(0, 3)].join(" · "),
            ],
            [words.layers, facts && format.number(facts.num_layers)],
            [words.hidden, facts && format.number(facts.hidden_size)],
            [words.vocab, facts && format.number(facts.vocab_size)],
            [words.context, facts && format.number(facts.max_context)],
            [words.size, format.bytes(repo.size_bytes)],
            [words.license, repo.license && <Licence key="l" repo={repo} />],
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
      {weights && repo.role === "base" && <MemoryTable bytes={weights.memory_bytes} />}
    </div>
  );
}
