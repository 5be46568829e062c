// A licence by its full name, and the way to what else is under it.

import { Link } from "react-router";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";

export function Licence({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const { same, sameData } = text.repo.facts;
  const to = `/${repo.kind}s?license=${encodeURIComponent(repo.license)}`;
  return (
    <Link
      to={to}
      title={(repo.kind === "model" ? same : sameData)(repo.license_name || repo.license)}
    >
      {repo.license_name || repo.license}
      {repo.license_name && <span className="mono muted small"> {repo.license}</span>}
    </Link>
  );
}
