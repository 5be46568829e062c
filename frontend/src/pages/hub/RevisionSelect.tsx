// Which branch, tag or commit of a repo is looked at; it lives in the address.

import { Alert, Button, Select } from "antd";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { BranchesOutlined } from "../../widgets/icons";
import { useUrlState } from "../useUrlState";
import { isHead } from "./useRepo";

/** What only makes sense within one revision. */
const FORGET = {
  folder: "",
  path: "",
  at: "",
  since: "",
  commit: "",
  page: "",
  offset: "",
  find: "",
  q: "",
};

export function useRevision(): [string, (name: string) => void] {
  const [read, write] = useUrlState();
  const choose = (name: string) =>
    write({ ...FORGET, revision: name === "main" ? "" : name }, { isStep: true });
  return [read("revision") || "main", choose];
}

export function RevisionSelect({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.repo.revision;
  const [chosen, choose] = useRevision();
  if (repo.refs.length === 0) return null;
  const group = (kind: "branch" | "tag", label: string) => ({
    label,
    options: repo.refs
      .filter((ref) => ref.kind === kind)
      .map(({ name }) => ({ value: name, label: name })),
  });
  const groups = [group("branch", words.branches), group("tag", words.tags)];
  const isRef = repo.refs.some(({ name }) => name === chosen);
  return (
    <Select
      className="revision-select"
      aria-label={words.label}
      prefix={<BranchesOutlined />}
      value={isRef ? chosen : words.commit(repo.revision.slice(0, 10))}
      options={groups.filter(({ options }) => options.length > 0)}
      showSearch={repo.refs.length > 7}
      placeholder={words.search}
      popupMatchSelectWidth={false}
      onChange={choose}
    />
  );
}

export function RevisionNotice({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.repo.revision;
  const [chosen, choose] = useRevision();
  if (repo.refs.length === 0 || chosen === "main" || isHead(repo)) return null;
  const isRef = repo.refs.some(({ name }) => name === chosen);
  return (
    <Alert
      type="info"
      showIcon
      style={{ marginBottom: 16 }}
      title={words.notHead(isRef ? chosen : words.commit(repo.revision.slice(0, 10)))}
      action={<Button onClick={() => choose("main")}>{words.toMain}</Button>}
    />
  );
}
