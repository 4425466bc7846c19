//! Template databases of images that are not the platform's any more, and what was begun and never finished for them.
//! A template that is needed again is made again; databases copied from it stay.

use super::{
    look::{Look, Reconciler, Round},
    trouble::Trouble,
};
use crate::{postgres::TemplateName, run::job::template};

pub struct Templates;

impl Reconciler for Templates {
    const NAME: &'static str = "templates";
    type Job = TemplateName;

    async fn look(&self, round: &Round<'_>) -> Result<Look<TemplateName>, Trouble> {
        let shop = round.shop;
        let templates = shop.tenants.list_templates().await?;
        let mut look = Look::at(templates.len());
        // While the image is not there, nobody knows which templates it will want.
        let Some(image) = shop.docker.image(&shop.config.odoo_image).await? else { return Ok(look) };
        let installation = shop.docker.installation();
        let wanted =
            [template::name(&image, installation, true)?, template::name(&image, installation, false)?];
        for name in templates.into_iter().filter(|name| !wanted.contains(name)) {
            look.finds(name.database(), "drop", "it was made from another image", name.clone());
        }
        Ok(look)
    }

    async fn act(&self, round: &Round<'_>, name: &TemplateName) -> Result<(), Trouble> {
        match round.shop.tenants.drop_template(name).await? {
            true => Ok(()),
            false => Err(Trouble("somebody is making it".to_owned())),
        }
    }
}
