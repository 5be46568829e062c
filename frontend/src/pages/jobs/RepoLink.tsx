// A repo that a job names, as a link to its page.

import { Link } from "react-router";

export function RepoLink({ kind, id }: { kind: "models" | "datasets"; id: unknown }) {
  if (typeof id !== "string" || !id) return null;
  const [repo, revision] = id.split("@");
  return (
    <Link to={`/${kind}/${repo}`} className="mono">
      {repo}
      {revision && <span className="muted">@{revision.slice(0, 8)}</span>}
    </Link>
  );
}

/** One that a script names: `datasets/` stands before a dataset. */
export function SourceLink({ source }: { source: string }) {
  const isDataset = source.startsWith("datasets/");
  const id = source.replace(/^(datasets|models)\//, "");
  return <RepoLink kind={isDataset ? "datasets" : "models"} id={id} />;
}
