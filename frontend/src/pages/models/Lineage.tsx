// Where a model comes from and what came of it, drawn from left to right; every model is a link.

import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { queries } from "../../api/queries";
import type { Repo, RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";

export function Lineage({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.finding.kin;
  const children = useQuery(
    queries.repos({ kind: "model", base_model: repo.id, sort: "downloads", page_size: 100 }),
  );
  return (
    <div className="panel">
      <div className="kin">
        {repo.base_model && (
          <div>
            <h2 className="section-title">{words.base}</h2>
            <Node id={repo.base_model} />
          </div>
        )}
        <div>
          <h2 className="section-title">{words.here}</h2>
          <span className="kin-node is-here mono">{repo.id}</span>
        </div>
        <Loaded query={children}>
          {({ results }) => <Children repo={repo} results={results} />}
        </Loaded>
      </div>
    </div>
  );
}

function Children({ repo, results }: { repo: RepoDetail; results: Repo[] }) {
  const { text } = useWords();
  const { relation } = text.finding.kin;
  const words = text.hub.lineage;
  if (results.length === 0) {
    return repo.role === "base" ? (
      <EmptyState
        title={words.none}
        text={words.noneText}
        action={
          <LinkButton to={`/launch?model=${encodeURIComponent(repo.id)}`} type="primary">
            {text.hub.finetune}
          </LinkButton>
        }
      />
    ) : null;
  }
  return (
    <div>
      {Object.entries(relation).map(([name, title]) => {
        const found = results.filter((child) => (child.base_relation || "finetune") === name);
        return (
          found.length > 0 && (
            <section key={name}>
              <h2 className="section-title">{title}</h2>
              <ul>
                {found.map((child) => (
                  <li key={child.id}>
                    <Node id={child.id} />
                  </li>
                ))}
              </ul>
            </section>
          )
        );
      })}
    </div>
  );
}

function Node({ id }: { id: string }) {
  return (
    <Link to={`/models/${id}`} className="kin-node mono">
      {id}
    </Link>
  );
}
