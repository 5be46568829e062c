// The models of the hub: bases and adapters.

import { DownloadOutlined } from "../../widgets/icons";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { LinkButton } from "../../widgets/LinkButton";
import { PageHead } from "../../widgets/PageHead";
import { RepoCards } from "../hub/RepoCards";
import { RepoFilters } from "../hub/RepoFilters";

export function ModelsPage() {
  const { text } = useWords();
  const words = text.hub.models;
  const launch = (
    <LinkButton to="/launch" type="primary">
      {text.home.launch}
    </LinkButton>
  );
  return (
    <div className="page">
      <PageHead
        title={words.title}
        lead={words.lead}
        actions={
          <LinkButton to="/imports" icon={<DownloadOutlined />}>
            {text.imports.begin}
          </LinkButton>
        }
      />
      <div className="catalogue">
        <RepoFilters
          kind="model"
          roles={(["all", "base", "adapter"] as const).map((value) => ({
            value,
            label: words.role[value],
          }))}
        />
        <div>
          <RepoCards
            kind="model"
            nothing={<EmptyState title={words.empty} text={words.emptyText} action={launch} />}
          />
        </div>
      </div>
    </div>
  );
}
