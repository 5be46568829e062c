// An address that leads nowhere.

import { useWords } from "../../i18n";
import { LinkButton } from "../../widgets/LinkButton";
import { PageHead } from "../../widgets/PageHead";

export function NotFoundPage() {
  const { text } = useWords();
  return (
    <div className="page">
      <PageHead
        title={text.error.notFoundTitle}
        lead={text.error.notFoundText}
        actions={
          <LinkButton to="/" type="primary">
            {text.error.home}
          </LinkButton>
        }
      />
    </div>
  );
}
