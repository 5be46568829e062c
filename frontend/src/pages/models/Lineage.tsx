// From which base a model was taught, and what was taught from it.

import { Link } from "react-router";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { LinkButton } from "../../widgets/LinkButton";

export function Lineage({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.hub.lineage;
  if (repo.role === "adapter") {
    return (
      <div className="panel">
        <h2 className="section-title">{words.base}</h2>
        {repo.base_model ? (
          <Link to={`/models/${repo.base_model}`} className="mono">
            {repo.base_model}
          </Link>
        ) : (
          text.none
        )}
      </div>
    );
  }
  return (
    <div className="panel">
      <h2 className="section-title">{words.adapters}</h2>
      {repo.adapters.length === 0 ? (
        <EmptyState
          title={words.none}
          text={words.noneText}
          action={
            <LinkButton to={`/launch?model=${encodeURIComponent(repo.id)}`} type="primary">
              {text.hub.finetune}
            </LinkButton>
          }
        />
      ) : (
        <ul style={{ margin: 0, paddingLeft: 20 }}>
          {repo.adapters.map((id) => (
            <li key={id}>
              <Link to={`/models/${id}`} className="mono">
                {id}
              </Link>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
